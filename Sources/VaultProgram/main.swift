// The program `vaultfs`: all of it is VaultCommand, which tests reach into.

import VaultCommand

runVaultfs()
