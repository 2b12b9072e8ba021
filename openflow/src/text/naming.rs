//! What a switch calls its ports and tables, beside their numbers.

use core::fmt::{self, Display, Formatter, Write};

use crate::{PortNo, TableId, Version, ports};

/// Names of ports and tables of one switch. A name that two of them share stands for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    ports: Vec<(PortNo, String)>,
    tables: Vec<(TableId, String)>,
    /// Actions go by their names in 1.0.
    of_10: bool,
}

/// No name at all.
pub(super) static NO_NAMES: Names = Names { ports: Vec::new(), tables: Vec::new(), of_10: false };
/// No name at all, and the actions of 1.0.
pub(super) static NO_NAMES_10: Names = Names { ports: Vec::new(), tables: Vec::new(), of_10: true };

impl Names {
    /// Port `port` is called `name`.
    pub fn add_port(&mut self, port: PortNo, name: impl Into<String>) {
        self.ports.push((port, name.into()));
    }

    /// Table `table` is called `name`.
    pub fn add_table(&mut self, table: TableId, name: impl Into<String>) {
        self.tables.push((table, name.into()));
    }

    /// Actions are to be written as ovs-ofctl does over `version`: `mod_dl_src` and `strip_vlan` in 1.0.
    #[must_use]
    pub fn of_version(self, version: Version) -> Self {
        Self { of_10: version == Version::V10, ..self }
    }

    /// Actions go by their names in 1.0.
    pub(super) fn of_10(&self) -> bool {
        self.of_10
    }

    /// The port of this name, bare or in double quotes.
    pub fn port(&self, name: &str) -> Option<PortNo> {
        number_of(&self.ports, name)
    }

    /// The table of this name, bare or in double quotes.
    pub fn table(&self, name: &str) -> Option<TableId> {
        number_of(&self.tables, name)
    }

    /// What port `port` is called.
    pub fn port_name(&self, port: PortNo) -> Option<&str> {
        name_of(&self.ports, port)
    }

    /// What table `table` is called.
    pub fn table_name(&self, table: TableId) -> Option<&str> {
        name_of(&self.tables, table)
    }
}

fn number_of<N: Copy>(all: &[(N, String)], name: &str) -> Option<N> {
    let name = unquoted(name);
    let mut named = all.iter().filter(|(_, own)| *own == name && !own.is_empty());
    let first = named.next().map(|(number, _)| *number);
    first.filter(|_| named.next().is_none())
}

fn name_of<N: PartialEq>(all: &[(N, String)], number: N) -> Option<&str> {
    let (_, name) = all.iter().find(|(own, _)| *own == number)?;
    let alone = all.iter().filter(|(_, other)| other == name).count() == 1;
    (alone && !name.is_empty()).then_some(name)
}

/// `"eth-0"` as `eth-0`; what is not in quotes stays as it is.
fn unquoted(name: &str) -> String {
    let Some(inner) = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return name.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        // Of the escapes of JSON those that `Quoted` writes.
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

/// A name as ovs-ofctl writes it: in double quotes unless it is a letter followed by letters and digits.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = self.0.starts_with(|c: char| c.is_ascii_alphabetic())
            && self.0.chars().all(|c| c.is_ascii_alphanumeric());
        if plain {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}

/// A port: a reserved one by the standard's name, another by the switch's name for it, else by number.
pub(super) struct PortName<'a>(pub PortNo, pub &'a Names);

impl Display for PortName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some((_, name)) = ports::NAMES.iter().find(|(port, _)| *port == self.0) {
            return f.pad(name);
        }
        match self.1.port_name(self.0) {
            Some(name) => f.pad(&Quoted(name).to_string()),
            None => self.0.0.fmt(f),
        }
    }
}

/// A table by the switch's name for it, else by number.
pub(super) struct TableName<'a>(pub TableId, pub &'a Names);

impl Display for TableName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.1.table_name(self.0) {
            Some(name) => Quoted(name).fmt(f),
            None => self.0.fmt(f),
        }
    }
}

/// What has a text form in which ports and tables may be named.
pub trait Text {
    /// Writes it with the names of a switch.
    ///
    /// # Errors
    /// Those of the formatter.
    fn write(&self, f: &mut Formatter<'_>, names: &Names) -> fmt::Result;
}

/// Writes something with the names of a switch: `Named(&flow, &names).to_string()`.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a, T: ?Sized>(pub &'a T, pub &'a Names);

impl<T: Text + ?Sized> Display for Named<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.write(f, self.1)
    }
}

/// Without names, the text form is what `Display` gives.
macro_rules! display_as_text {
    ($($type:ty),*) => {$(
        impl Display for $type {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                $crate::text::naming::Text::write(self, f, &$crate::text::naming::NO_NAMES)
            }
        }
    )*};
}
pub(super) use display_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_one_port_or_none() {
        let mut names = Names::default();
        for (port, name) in [(1, "eth0"), (2, "a,\"b\\"), (3, "twin"), (4, "twin")] {
            names.add_port(PortNo(port), name);
        }
        assert_eq!(names.port("eth0"), Some(PortNo(1)));
        assert_eq!(names.port("\"eth0\""), Some(PortNo(1)));
        assert_eq!(names.port("twin"), None);
        let written: Vec<String> = (1..=5).map(|n| PortName(PortNo(n), &names).to_string()).collect();
        assert_eq!(written, ["eth0", r#""a,\"b\\""#, "3", "4", "5"]);
        assert_eq!(names.port(&written[1]), Some(PortNo(2)));
        assert_eq!(PortName(ports::LOCAL, &names).to_string(), "LOCAL");
    }
}
