#include <sqlite3.h>

/* A database that somebody else wrote has no say in what is run. Swift cannot call functions with variable arguments. */
static inline int vaultfs_no_code_in_database(sqlite3 *database) {
  int code = sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, (int *)0);
  return code != SQLITE_OK ? code : sqlite3_db_config(database, SQLITE_DBCONFIG_ENABLE_VIEW, 0, (int *)0);
}

/* Swift cannot call functions with variable arguments. */
static inline int vaultfs_no_checkpoint_on_close(sqlite3 *database) {
  return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}
