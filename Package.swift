// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]
/// Where C is touched: each unsafe expression is marked, so that a reader sees where to look twice.
let touchesC = strict + [.strictMemorySafety()]

/// Programs hold Swift's own libraries: they start in half the time, and run where no toolchain is, or another one.
let selfContained: [LinkerSetting] = [.unsafeFlags(["-static-stdlib", "-l_FoundationCShims", "-l_FoundationCollections"], .when(platforms: [.linux]))]

func system(_ name: String, _ pkgConfig: String, apt: String) -> Target {
  .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt])])
}

let package = Package(
  name: "vaultfs",
  products: [
    .executable(name: "vaultfs", targets: ["VaultProgram"]),
    .executable(name: "fsctl", targets: ["fsctl"]),
    .executable(name: "memory-fs", targets: ["MemoryFS"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
  ],
  targets: [
    system("CFuse3", "fuse3", apt: "libfuse3-dev"),
    system("CSQLite", "sqlite3", apt: "libsqlite3-dev"),
    system("CLZ4", "liblz4", apt: "liblz4-dev"),
    system("CZstd", "libzstd", apt: "libzstd-dev"),
    system("CDeflate", "libdeflate", apt: "libdeflate-dev"),

    .systemLibrary(name: "CGlibc"),

    .target(name: "Printable", swiftSettings: strict),
    .target(name: "FuseBridge", dependencies: ["CFuse3", "Printable"], swiftSettings: touchesC),
    .target(
      name: "VaultFS",
      dependencies: ["CGlibc", "CSQLite", "CLZ4", "CZstd", "CDeflate", "Printable", .product(name: "Crypto", package: "swift-crypto")],
      swiftSettings: touchesC),
    .target(name: "VaultClient", dependencies: ["VaultFS", "Printable", "CGlibc"], swiftSettings: touchesC),
    .target(name: "VaultMount", dependencies: ["VaultFS", "FuseBridge"], swiftSettings: touchesC),
    .target(
      name: "CommandSupport",
      dependencies: ["VaultFS", "VaultClient", "FuseBridge", "Printable", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: touchesC),
    .target(
      name: "VaultCommand",
      dependencies: [
        "VaultFS", "VaultMount", "VaultClient", "FuseBridge", "CommandSupport", "Printable", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: touchesC),
    .executableTarget(name: "VaultProgram", dependencies: ["VaultCommand"], swiftSettings: strict, linkerSettings: selfContained),
    .executableTarget(
      name: "fsctl",
      dependencies: ["VaultClient", "CommandSupport", "Printable", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: touchesC, linkerSettings: selfContained),

    .executableTarget(name: "MemoryFS", dependencies: ["FuseBridge"], path: "Examples/memory-fs", swiftSettings: touchesC),
    .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
    .testTarget(name: "FuseBridgeTests", dependencies: ["FuseBridge", "MemoryFS"], swiftSettings: strict),
    .testTarget(name: "VaultFSTests", dependencies: ["VaultFS"], exclude: ["Golden"], swiftSettings: strict),
    .testTarget(name: "VaultClientTests", dependencies: ["VaultFS", "VaultClient", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "MountTests", dependencies: ["VaultFS", "VaultClient", "VaultMount", "FuseBridge", "VaultCommand", "CommandSupport", "TestSupport"], swiftSettings: strict),
  ]
)
