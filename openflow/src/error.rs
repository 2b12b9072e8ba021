//! Error messages with the types and codes of the standard (§7.4.4).

use core::fmt;

/// A request failed (§7.4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Type and code.
    pub kind: ErrorKind,
    /// At least the first 64 bytes of the request, or for HELLO_FAILED a text.
    pub data: Vec<u8>,
}

impl Error {
    /// An error without data: the shell adds the bytes of the request.
    pub fn new(kind: impl Into<ErrorKind>) -> Self {
        Self { kind: kind.into(), data: Vec::new() }
    }
}

/// Declares one enum of codes for each error type, and the enum of all of them.
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $type:literal, $prefix:literal { $($code:ident = $value:literal, $text:literal;)* })*) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names are those of the standard, which has one line each")]
        pub enum $name {
            $($code,)*
        }

        impl From<$name> for ErrorKind {
            fn from(code: $name) -> Self {
                Self::$name(code)
            }
        }

        impl $name {
            /// The name in the standard.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => concat!($prefix, "_", $text),)* }
            }
        })*

        /// Type and code of an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorKind {
            $($(#[$doc])* $name($name),)*
            /// An error of an experimenter.
            Experimenter {
                /// Its number among theirs.
                kind: u16,
                /// Who defined it.
                experimenter: u32,
            },
            /// A pair this version does not define.
            Unknown {
                /// The type on the wire.
                kind: u16,
                /// The code on the wire.
                code: u16,
            },
        }

        impl ErrorKind {
            /// Every error of the standard.
            pub const ALL: &'static [Self] = &[$($(Self::$name($name::$code),)*)*];

            /// Type and code on the wire, by the numbers of 1.3.5 and, where it has none, of 1.4.
            pub const fn numbers(self) -> (u16, u16) {
                match self {
                    $($(Self::$name($name::$code) => ($type, $value),)*)*
                    Self::Experimenter { kind, .. } => (0xffff, kind),
                    Self::Unknown { kind, code } => (kind, code),
                }
            }

            /// The error with this type and code, by the numbers of 1.3.5.
            pub const fn from_numbers(kind: u16, code: u16) -> Self {
                match (kind, code) {
                    $($(($type, $value) => Self::$name($name::$code),)*)*
                    _ => Self::Unknown { kind, code },
                }
            }
        }

        impl fmt::Display for ErrorKind {
            /// The name in the standard, as ovs-ofctl prints it.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name(code) => f.write_str(code.name()),)*
                    Self::Experimenter { kind, experimenter } => {
                        write!(f, "error {kind} of experimenter {experimenter:#010x}")
                    }
                    Self::Unknown { kind, code } => write!(f, "error type {kind} code {code}"),
                }
            }
        }
    };
}

errors! {
    /// The sides do not agree on a version.
    HelloFailed = 0, "OFPHFC" {
        Incompatible = 0, "INCOMPATIBLE";
        Eperm = 1, "EPERM";
    }
    /// The request was not understood.
    BadRequest = 1, "OFPBRC" {
        BadVersion = 0, "BAD_VERSION";
        BadType = 1, "BAD_TYPE";
        BadMultipart = 2, "BAD_MULTIPART";
        BadExperimenter = 3, "BAD_EXPERIMENTER";
        BadExpType = 4, "BAD_EXP_TYPE";
        Eperm = 5, "EPERM";
        BadLen = 6, "BAD_LEN";
        BufferEmpty = 7, "BUFFER_EMPTY";
        BufferUnknown = 8, "BUFFER_UNKNOWN";
        BadTableId = 9, "BAD_TABLE_ID";
        IsSlave = 10, "IS_SLAVE";
        BadPort = 11, "BAD_PORT";
        BadPacket = 12, "BAD_PACKET";
        MultipartBufferOverflow = 13, "MULTIPART_BUFFER_OVERFLOW";
        MultipartRequestTimeout = 14, "MULTIPART_REQUEST_TIMEOUT";
        MultipartReplyTimeout = 15, "MULTIPART_REPLY_TIMEOUT";
    }
    /// An action is wrong.
    BadAction = 2, "OFPBAC" {
        BadType = 0, "BAD_TYPE";
        BadLen = 1, "BAD_LEN";
        BadExperimenter = 2, "BAD_EXPERIMENTER";
        BadExpType = 3, "BAD_EXP_TYPE";
        BadOutPort = 4, "BAD_OUT_PORT";
        BadArgument = 5, "BAD_ARGUMENT";
        Eperm = 6, "EPERM";
        TooMany = 7, "TOO_MANY";
        BadQueue = 8, "BAD_QUEUE";
        BadOutGroup = 9, "BAD_OUT_GROUP";
        MatchInconsistent = 10, "MATCH_INCONSISTENT";
        UnsupportedOrder = 11, "UNSUPPORTED_ORDER";
        BadTag = 12, "BAD_TAG";
        BadSetType = 13, "BAD_SET_TYPE";
        BadSetLen = 14, "BAD_SET_LEN";
        BadSetArgument = 15, "BAD_SET_ARGUMENT";
    }
    /// An instruction is wrong.
    BadInstruction = 3, "OFPBIC" {
        UnknownInst = 0, "UNKNOWN_INST";
        UnsupInst = 1, "UNSUP_INST";
        BadTableId = 2, "BAD_TABLE_ID";
        UnsupMetadata = 3, "UNSUP_METADATA";
        UnsupMetadataMask = 4, "UNSUP_METADATA_MASK";
        BadExperimenter = 5, "BAD_EXPERIMENTER";
        BadExpType = 6, "BAD_EXP_TYPE";
        BadLen = 7, "BAD_LEN";
        Eperm = 8, "EPERM";
        DupInst = 9, "DUP_INST";
    }
    /// A match is wrong.
    BadMatch = 4, "OFPBMC" {
        BadType = 0, "BAD_TYPE";
        BadLen = 1, "BAD_LEN";
        BadTag = 2, "BAD_TAG";
        BadDlAddrMask = 3, "BAD_DL_ADDR_MASK";
        BadNwAddrMask = 4, "BAD_NW_ADDR_MASK";
        BadWildcards = 5, "BAD_WILDCARDS";
        BadField = 6, "BAD_FIELD";
        BadValue = 7, "BAD_VALUE";
        BadMask = 8, "BAD_MASK";
        BadPrereq = 9, "BAD_PREREQ";
        DupField = 10, "DUP_FIELD";
        Eperm = 11, "EPERM";
    }
    /// A flow modification failed.
    FlowModFailed = 5, "OFPFMFC" {
        Unknown = 0, "UNKNOWN";
        TableFull = 1, "TABLE_FULL";
        BadTableId = 2, "BAD_TABLE_ID";
        Overlap = 3, "OVERLAP";
        Eperm = 4, "EPERM";
        BadTimeout = 5, "BAD_TIMEOUT";
        BadCommand = 6, "BAD_COMMAND";
        BadFlags = 7, "BAD_FLAGS";
        CantSync = 8, "CANT_SYNC";
        BadPriority = 9, "BAD_PRIORITY";
        IsSync = 10, "IS_SYNC";
    }
    /// A group modification failed.
    GroupModFailed = 6, "OFPGMFC" {
        GroupExists = 0, "GROUP_EXISTS";
        InvalidGroup = 1, "INVALID_GROUP";
        WeightUnsupported = 2, "WEIGHT_UNSUPPORTED";
        OutOfGroups = 3, "OUT_OF_GROUPS";
        OutOfBuckets = 4, "OUT_OF_BUCKETS";
        ChainingUnsupported = 5, "CHAINING_UNSUPPORTED";
        WatchUnsupported = 6, "WATCH_UNSUPPORTED";
        Loop = 7, "LOOP";
        UnknownGroup = 8, "UNKNOWN_GROUP";
        ChainedGroup = 9, "CHAINED_GROUP";
        BadType = 10, "BAD_TYPE";
        BadCommand = 11, "BAD_COMMAND";
        BadBucket = 12, "BAD_BUCKET";
        BadWatch = 13, "BAD_WATCH";
        Eperm = 14, "EPERM";
    }
    /// A port modification failed.
    PortModFailed = 7, "OFPPMFC" {
        BadPort = 0, "BAD_PORT";
        BadHwAddr = 1, "BAD_HW_ADDR";
        BadConfig = 2, "BAD_CONFIG";
        BadAdvertise = 3, "BAD_ADVERTISE";
        Eperm = 4, "EPERM";
    }
    /// A table modification failed.
    TableModFailed = 8, "OFPTMFC" {
        BadTable = 0, "BAD_TABLE";
        BadConfig = 1, "BAD_CONFIG";
        Eperm = 2, "EPERM";
    }
    /// A queue operation failed.
    QueueOpFailed = 9, "OFPQOFC" {
        BadPort = 0, "BAD_PORT";
        BadQueue = 1, "BAD_QUEUE";
        Eperm = 2, "EPERM";
    }
    /// A configuration was refused.
    SwitchConfigFailed = 10, "OFPSCFC" {
        BadFlags = 0, "BAD_FLAGS";
        BadLen = 1, "BAD_LEN";
        Eperm = 2, "EPERM";
    }
    /// A role request failed.
    RoleRequestFailed = 11, "OFPRRFC" {
        Stale = 0, "STALE";
        Unsup = 1, "UNSUP";
        BadRole = 2, "BAD_ROLE";
    }
    /// A meter modification failed.
    MeterModFailed = 12, "OFPMMFC" {
        Unknown = 0, "UNKNOWN";
        MeterExists = 1, "METER_EXISTS";
        InvalidMeter = 2, "INVALID_METER";
        UnknownMeter = 3, "UNKNOWN_METER";
        BadCommand = 4, "BAD_COMMAND";
        BadFlags = 5, "BAD_FLAGS";
        BadRate = 6, "BAD_RATE";
        BadBurst = 7, "BAD_BURST";
        BadBand = 8, "BAD_BAND";
        BadBandValue = 9, "BAD_BAND_VALUE";
        OutOfMeters = 10, "OUT_OF_METERS";
        OutOfBands = 11, "OUT_OF_BANDS";
    }
    /// Table features were refused.
    TableFeaturesFailed = 13, "OFPTFFC" {
        BadTable = 0, "BAD_TABLE";
        BadMetadata = 1, "BAD_METADATA";
        BadType = 2, "BAD_TYPE";
        BadLen = 3, "BAD_LEN";
        BadArgument = 4, "BAD_ARGUMENT";
        Eperm = 5, "EPERM";
    }
    /// A property is wrong (1.4).
    BadProperty = 14, "OFPBPC" {
        BadType = 0, "BAD_TYPE";
        BadLen = 1, "BAD_LEN";
        BadValue = 2, "BAD_VALUE";
        TooMany = 3, "TOO_MANY";
        DupType = 4, "DUP_TYPE";
        BadExperimenter = 5, "BAD_EXPERIMENTER";
        BadExpType = 6, "BAD_EXP_TYPE";
        BadExpValue = 7, "BAD_EXP_VALUE";
        Eperm = 8, "EPERM";
    }
    /// An asynchronous configuration was refused (1.4).
    AsyncConfigFailed = 15, "OFPACFC" {
        Invalid = 0, "INVALID";
        Unsupported = 1, "UNSUPPORTED";
        Eperm = 2, "EPERM";
    }
    /// A flow monitor was refused (1.4).
    FlowMonitorFailed = 16, "OFPMOFC" {
        Unknown = 0, "UNKNOWN";
        MonitorExists = 1, "MONITOR_EXISTS";
        InvalidMonitor = 2, "INVALID_MONITOR";
        UnknownMonitor = 3, "UNKNOWN_MONITOR";
        BadCommand = 4, "BAD_COMMAND";
        BadFlags = 5, "BAD_FLAGS";
        BadTableId = 6, "BAD_TABLE_ID";
        BadOut = 7, "BAD_OUT";
    }
    /// A bundle was refused (1.4).
    BundleFailed = 17, "OFPBFC" {
        Unknown = 0, "UNKNOWN";
        Eperm = 1, "EPERM";
        BadId = 2, "BAD_ID";
        BundleExist = 3, "BUNDLE_EXIST";
        BundleClosed = 4, "BUNDLE_CLOSED";
        OutOfBundles = 5, "OUT_OF_BUNDLES";
        BadType = 6, "BAD_TYPE";
        BadFlags = 7, "BAD_FLAGS";
        MsgBadLen = 8, "MSG_BAD_LEN";
        MsgBadXid = 9, "MSG_BAD_XID";
        MsgUnsup = 10, "MSG_UNSUP";
        MsgConflict = 11, "MSG_CONFLICT";
        MsgTooMany = 12, "MSG_TOO_MANY";
        MsgFailed = 13, "MSG_FAILED";
        Timeout = 14, "TIMEOUT";
        BundleInProgress = 15, "BUNDLE_IN_PROGRESS";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for &kind in ErrorKind::ALL {
            let (t, c) = kind.numbers();
            assert_eq!(ErrorKind::from_numbers(t, c), kind);
        }
        assert_eq!(ErrorKind::from(BadAction::BadSetType).numbers(), (2, 13));
        assert_eq!(ErrorKind::from_numbers(99, 1), ErrorKind::Unknown { kind: 99, code: 1 });
        assert_eq!(ErrorKind::from(BadMatch::BadPrereq).to_string(), "OFPBMC_BAD_PREREQ");
    }
}
