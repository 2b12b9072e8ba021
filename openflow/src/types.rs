//! Newtypes for the numbers that travel in OpenFlow messages.

use core::fmt;
use core::str::FromStr;

/// Declares newtypes over an unsigned number that print as the number.
macro_rules! number {
    ($($(#[$doc:meta])* $name:ident($int:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

/// Declares a set of bits as a newtype with named members.
macro_rules! flags {
    ($(#[$doc:meta])* $name:ident($int:ty) { $($(#[$fdoc:meta])* $flag:ident = $bit:expr, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$fdoc])* pub const $flag: Self = Self($bit);)*
            /// No bit set.
            pub const NONE: Self = Self(0);
            /// Every member of the set with its name, lowest bit first.
            pub const NAMES: &'static [(Self, &'static str)] = &[$((Self::$flag, $text)),*];
            /// Every bit that has a name.
            pub const ALL: Self = Self(0 $(| $bit)*);

            /// Every bit of `other` is set here.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
            /// No bit is set.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
            /// This set with the bits of `other` set or cleared.
            #[must_use]
            pub const fn with(self, other: Self, set: bool) -> Self {
                if set { Self(self.0 | other.0) } else { Self(self.0 & !other.0) }
            }
            /// The bits that have no name in this version of the protocol.
            pub const fn unknown(self) -> $int {
                self.0 & !Self::ALL.0
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, rhs: Self) -> Self {
                Self(self.0 | rhs.0)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let mut sep = "";
                for (flag, name) in Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag) && !flag.is_empty()) {
                    let _ = flag;
                    write!(f, "{sep}{name}")?;
                    sep = "|";
                }
                if self.unknown() != 0 || sep.is_empty() {
                    write!(f, "{sep}{:#x}", self.unknown())?;
                }
                Ok(())
            }
        }
    };
}

/// Declares a fieldless enum whose numbers go on the wire.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident($int:ty) { $($(#[$vdoc:meta])* $variant:ident = $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// Every member, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number on the wire.
            pub const fn number(self) -> $int {
                match self { $(Self::$variant => $value,)* }
            }
            /// The member with this number.
            pub const fn from_number(number: $int) -> Option<Self> {
                match number { $($value => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

pub(crate) use {flags, wire_enum};

number! {
    /// The number of a flow table. 255 (`ALL`) stands for every table in requests and deletions.
    TableId(u8);
    /// The number of a group.
    GroupId(u32);
    /// The number of a meter.
    MeterId(u32);
    /// Identifies a transaction: replies carry the number of their request.
    Xid(u32);
    /// A number the controller attaches to flows; the switch never interprets it.
    Cookie(u64);
    /// Precedence of a flow in its table, highest first.
    Priority(u16);
    /// A packet buffered in the switch. "Not buffered" is `Option<BufferId>::None`.
    BufferId(u32);
    /// A queue of a port.
    QueueId(u32);
}

impl TableId {
    /// The last table that may hold flows (OFPTT_MAX).
    pub const MAX: Self = Self(0xfe);
    /// Every table (OFPTT_ALL).
    pub const ALL: Self = Self(0xff);
}

impl GroupId {
    /// The last number a group may have (OFPG_MAX).
    pub const MAX: Self = Self(0xffff_ff00);
    /// Every group, in deletions (OFPG_ALL).
    pub const ALL: Self = Self(0xffff_fffc);
}

impl MeterId {
    /// The last number a meter may have (OFPM_MAX).
    pub const MAX: Self = Self(0xffff_0000);
    /// Meter of the slow datapath (OFPM_SLOWPATH).
    pub const SLOWPATH: Self = Self(0xffff_fffd);
    /// Meter of the controller connection (OFPM_CONTROLLER).
    pub const CONTROLLER: Self = Self(0xffff_fffe);
    /// Every meter (OFPM_ALL).
    pub const ALL: Self = Self(0xffff_ffff);
}

impl Priority {
    /// What ovs-ofctl gives flows without a priority (OFP_DEFAULT_PRIORITY).
    pub const DEFAULT: Self = Self(0x8000);
}

impl QueueId {
    /// Every queue, in requests (OFPQ_ALL).
    pub const ALL: Self = Self(0xffff_ffff);
}

/// Identifies a switch: 64 bits, written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dpid(pub u64);

/// A text that is no datapath id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a datapath id: 16 hexadecimal digits, or a number, are expected")]
pub struct DpidError(String);

impl fmt::Display for Dpid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Dpid {
    type Err = DpidError;

    /// 16 hexadecimal digits, `0x` and hexadecimal digits, or a decimal number.
    fn from_str(s: &str) -> Result<Self, DpidError> {
        let parsed = if s.starts_with('+') {
            None
        } else if let Some(hex) = s.strip_prefix("0x") {
            u64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'))
        } else if s.len() == 16 {
            u64::from_str_radix(s, 16).ok()
        } else {
            s.parse().ok()
        };
        parsed.map(Self).ok_or_else(|| DpidError(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpid_text_round_trips() {
        for (text, value) in [("1", 1), ("0xff", 255), ("00000000000000ff", 255)] {
            assert_eq!(text.parse(), Ok(Dpid(value)), "{text}");
        }
        assert_eq!(Dpid(10).to_string().parse(), Ok(Dpid(10)));
        for bad in ["", "-1", "+1", "0x", "0x+1", "zz", "000000000000000g"] {
            assert!(bad.parse::<Dpid>().is_err(), "{bad}");
        }
    }
}
