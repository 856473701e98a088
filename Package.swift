// swift-tools-version: 6.0
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
  targets: [
    .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(name: "CLinux"),
    .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
    .target(
      name: "CTomlplusplus",
      cxxSettings: [.define("TOML_EXCEPTIONS", to: "0"), .define("NDEBUG")]
    ),

    .target(name: "CTidemarkPlugin"),
    .target(name: "TidemarkPlugin", dependencies: ["CTidemarkPlugin"], swiftSettings: strict),

    .target(name: "Rules", swiftSettings: strict),
    .target(name: "Plugins", dependencies: ["Rules"], swiftSettings: strict),
    .target(name: "Commands", dependencies: ["Rules"], swiftSettings: strict),
    .target(name: "Concurrency", dependencies: ["CLinux"], swiftSettings: strict),
    .target(name: "Processes", dependencies: ["CLinux", "Concurrency"], swiftSettings: strict),
    .target(name: "Postgres", dependencies: ["CLibpq", "CLinux", "Concurrency"], swiftSettings: strict),
    .target(name: "EventStore", dependencies: ["Postgres", "Rules"], swiftSettings: strict),
    .target(
      name: "Books",
      dependencies: ["EventStore", "Postgres", "Rules"],
      resources: [.embedInCode("Schema")],
      swiftSettings: strict
    ),
    .target(name: "ReadModels", dependencies: ["Books", "EventStore", "Postgres", "Rules"], swiftSettings: strict),
    .target(name: "Settings", dependencies: ["CTomlplusplus", "Rules"], swiftSettings: strict),
    .target(name: "Systemd", dependencies: ["CSystemd", "Concurrency"], swiftSettings: strict),
    .target(
      name: "Telemetry",
      dependencies: ["Concurrency", "Rules", "Systemd"],
      swiftSettings: strict
    ),
    .target(
      name: "PluginHost",
      dependencies: [
        "CTidemarkPlugin", "Concurrency", "Plugins", "Postgres", "Processes", "Rules", "Telemetry",
      ],
      swiftSettings: strict
    ),
    .target(
      name: "Daemon",
      dependencies: [
        "Books", "Concurrency", "EventStore", "PluginHost", "Plugins", "Postgres", "ReadModels", "Rules", "Settings",
        "Systemd",
        "Telemetry",
      ],
      swiftSettings: strict
    ),
    .target(
      name: "Operator",
      dependencies: [
        "Books", "Concurrency", "Daemon", "EventStore", "PluginHost", "Plugins", "Postgres", "ReadModels", "Rules",
        "Settings",
        "Telemetry",
      ],
      swiftSettings: strict
    ),
    .target(
      name: "Sandbox",
      dependencies: ["Books", "EventStore", "Postgres", "Processes"],
      swiftSettings: strict
    ),
    .executableTarget(
      name: "tidemark",
      dependencies: [
        "Books", "CLinux", "Commands", "Concurrency", "Daemon", "EventStore", "Operator", "PluginHost", "Plugins",
        "Postgres", "Processes", "ReadModels", "Rules", "Sandbox", "Settings", "Systemd", "Telemetry",
      ],
      swiftSettings: strict
    ),
    .executableTarget(
      name: "Benchmark",
      dependencies: [
        "Books", "Commands", "Daemon", "EventStore", "Operator", "PluginHost", "Postgres", "Processes", "ReadModels",
        "Rules",
        "Sandbox", "Settings",
      ],
      exclude: ["Plugins"],
      swiftSettings: strict
    ),

    .testTarget(name: "RulesTests", dependencies: ["Rules"], swiftSettings: strict),
    .target(
      name: "SwiftTestPlugin", dependencies: ["TidemarkPlugin"], path: "Tests/SwiftTestPlugin", swiftSettings: strict),
    .testTarget(name: "CommandsTests", dependencies: ["Commands"], swiftSettings: strict),
    .testTarget(name: "ConcurrencyTests", dependencies: ["CLinux", "Concurrency"], swiftSettings: strict),
    .testTarget(name: "ProcessesTests", dependencies: ["Concurrency", "Processes"], swiftSettings: strict),
    .testTarget(name: "PluginsTests", dependencies: ["Plugins", "Rules"], swiftSettings: strict),
    .testTarget(
      name: "TelemetryTests", dependencies: ["Rules", "Telemetry"], exclude: ["Golden"],
      swiftSettings: strict),
    .testTarget(
      name: "PostgresTests", dependencies: ["CLibpq", "Concurrency", "Postgres", "Sandbox", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "SettingsTests", dependencies: ["CLibpq", "Rules", "Settings"], resources: [.copy("Fixtures")],
      swiftSettings: strict),
    .target(
      name: "TestSupport",
      dependencies: [
        "Books", "Concurrency", "Daemon", "EventStore", "Operator", "Postgres", "Processes", "Rules", "Sandbox",
        "Settings", "Telemetry",
      ],
      path: "Tests/Support",
      exclude: ["systemd-box.sh", "test_plugin.c"],
      swiftSettings: strict),
    .testTarget(
      name: "BooksTests", dependencies: ["Books", "EventStore", "Operator", "Postgres", "TestSupport"],
      exclude: ["Upgrade/schema-numbers.txt"],
      swiftSettings: strict),
    .testTarget(
      name: "OperatorTests", dependencies: ["Books", "Operator", "Postgres", "Rules", "Settings", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "PluginHostTests", dependencies: ["PluginHost", "Plugins", "Rules", "Telemetry", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "CommandLineTests",
      dependencies: ["Postgres", "Processes", "Sandbox", "TestSupport", "tidemark"],
      exclude: ["Golden", "Shells"],
      swiftSettings: strict),
    .testTarget(
      name: "DaemonTests",
      dependencies: [
        "Books", "Concurrency", "Daemon", "EventStore", "Operator", "PluginHost", "Plugins", "Postgres", "Processes",
        "ReadModels", "Rules", "Sandbox", "Settings", "Telemetry", "TestSupport", "tidemark",
      ],
      exclude: ["Store/Fixtures"],
      swiftSettings: strict),
  ],
  cxxLanguageStandard: .cxx17
)
