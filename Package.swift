// swift-tools-version: 6.1
import PackageDescription

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

// The dependency lists below are the walls between modules; `.ci/run` builds with
// `--explicit-target-dependency-import-check error`, so an import that is not listed here does not compile.
let package = Package(
  name: "tidemark",
  products: [
    .executable(name: "tidemark", targets: ["tidemark"]),
    .library(name: "TidemarkPlugin", targets: ["TidemarkPlugin"]),
    // What the tests load.
    .library(name: "SwiftTestPlugin", type: .dynamic, targets: ["SwiftTestPlugin"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
  ],
  targets: [
    .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
    .target(
      name: "CTomlplusplus",
      cxxSettings: [.define("TOML_EXCEPTIONS", to: "0"), .define("NDEBUG")]
    ),

    .target(name: "CTidemarkPlugin"),
    .target(name: "TidemarkPlugin", dependencies: ["CTidemarkPlugin"], swiftSettings: strict),

    .target(name: "Projection", swiftSettings: strict),
    .target(name: "Plugins", dependencies: ["Projection"], swiftSettings: strict),
    .target(name: "Postgres", dependencies: ["CLibpq"], swiftSettings: strict),
    .target(
      name: "EventStore",
      dependencies: ["Postgres", "Projection"],
      resources: [.embedInCode("Schema")],
      swiftSettings: strict
    ),
    .target(name: "Settings", dependencies: ["CTomlplusplus", "Projection"], swiftSettings: strict),
    .target(name: "Systemd", dependencies: ["CSystemd"], swiftSettings: strict),
    .target(
      name: "Telemetry",
      dependencies: ["Projection", "Systemd", .product(name: "Logging", package: "swift-log")],
      swiftSettings: strict
    ),
    .target(
      name: "Daemon",
      dependencies: [
        "CTidemarkPlugin", "EventStore", "Plugins", "Postgres", "Projection", "Settings", "Systemd", "Telemetry",
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "Subprocess", package: "swift-subprocess"),
      ],
      swiftSettings: strict
    ),
    .target(
      name: "Sandbox",
      dependencies: [
        "EventStore", "Postgres",
        .product(name: "Subprocess", package: "swift-subprocess"),
      ],
      swiftSettings: strict
    ),
    .executableTarget(
      name: "tidemark",
      dependencies: [
        "Daemon", "EventStore", "Plugins", "Postgres", "Projection", "Sandbox", "Settings", "Systemd", "Telemetry",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict
    ),
    .executableTarget(
      name: "Benchmark",
      dependencies: [
        "Daemon", "EventStore", "Postgres", "Projection", "Sandbox", "Settings",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Subprocess", package: "swift-subprocess"),
      ],
      exclude: ["Plugins"],
      swiftSettings: strict
    ),

    .testTarget(name: "ProjectionTests", dependencies: ["Projection"], swiftSettings: strict),
    .target(
      name: "SwiftTestPlugin", dependencies: ["TidemarkPlugin"], path: "Tests/SwiftTestPlugin", swiftSettings: strict),
    .testTarget(name: "PluginsTests", dependencies: ["Plugins", "Projection"], swiftSettings: strict),
    .testTarget(
      name: "TelemetryTests",
      dependencies: ["Projection", "Telemetry", .product(name: "Logging", package: "swift-log")],
      swiftSettings: strict),
    .testTarget(name: "PostgresTests", dependencies: ["CLibpq", "Postgres", "Sandbox"], swiftSettings: strict),
    .testTarget(
      name: "SettingsTests", dependencies: ["Projection", "Settings"], resources: [.copy("Fixtures")],
      swiftSettings: strict),
    .testTarget(
      name: "DaemonTests",
      dependencies: [
        "Daemon", "EventStore", "Plugins", "Postgres", "Projection", "Sandbox", "Settings", "Telemetry", "tidemark",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "Subprocess", package: "swift-subprocess"),
      ],
      exclude: ["systemd-box.sh", "test_plugin.c"],
      swiftSettings: strict),
  ],
  cxxLanguageStandard: .cxx17
)
