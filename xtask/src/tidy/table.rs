//! The data that the rules judge by. A change here is a change of the architecture: see docs/decisions.

/// Which crate of ours may depend on which; nothing else.
pub const EDGES: &[(&str, &[&str])] = &[
    ("packet", &[]),
    ("lookup", &[]),
    ("conntrack", &["lookup", "packet"]),
    ("netio", &["packet"]),
    ("openflow", &["packet"]),
    ("vswitch", &["openflow", "conntrack", "lookup", "packet"]),
    ("vrouter", &["conntrack", "lookup", "packet"]),
    ("controller", &["openflow", "packet"]),
    ("controller-api", &[]),
    ("topology", &["controller-api", "netio", "packet"]),
    ("dataplane", &["vswitch", "vrouter", "netio", "packet"]),
    ("sim", &["packet", "lookup", "conntrack", "openflow", "vswitch", "vrouter", "controller", "topology"]),
    (
        "weft",
        &[
            "packet",
            "lookup",
            "conntrack",
            "netio",
            "openflow",
            "vswitch",
            "vrouter",
            "controller",
            "controller-api",
            "topology",
            "dataplane",
            "sim",
        ],
    ),
    ("system-tests", &["controller-api"]),
    ("xtask", &[]),
];

/// The one crate with unsafe code.
pub const UNSAFE_CRATE: &str = "netio";

/// Crates that may read the clock and sleep. All others are given `now`.
pub const SHELLS: &[&str] = &["netio", "dataplane", "weft", "system-tests", "xtask"];

/// Licences that others' code may have (SPDX).
pub const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates of others that may be there in more than one version, with the reason.
pub const DUPLICATES: &[(&str, &str)] = &[
    ("bit-vec", "proptest uses 0.10, rcgen 0.9; both in tests only"),
    ("getrandom", "ring 0.17 uses 0.2, rand 0.10 uses 0.4"),
    ("hashbrown", "petgraph 0.8 uses 0.15, everything else 0.17"),
    ("syn", "derive macros are between 2 and 3; it runs at build time only"),
];

/// Lines of a file without its tests: more is a warning.
pub const FILE_LINES: usize = 600;
/// Lines of a file without its tests: more is an error unless the file has a waiver.
pub const FILE_LINES_MAX: usize = 800;
/// Lines of a function: more is a warning.
pub const FUNCTION_LINES: usize = 60;
/// Lines of a function: more is an error unless the file has a waiver.
pub const FUNCTION_LINES_MAX: usize = 150;

/// Units: a number followed by one of these is a claim.
pub const UNITS: &[&str] = &[
    "%", "x", "times", "ns", "us", "µs", "ms", "s", "seconds", "minutes", "pps", "kpps", "Mpps", "bit/s",
    "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "B", "bytes", "KB", "MB", "GB", "KiB", "MiB", "GiB",
];

/// What a row of docs/claims.md may say about its state.
pub const CLAIM_STATES: &[&str] = &["proved", "pending", "missed"];
