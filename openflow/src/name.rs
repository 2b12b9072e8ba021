//! Names and descriptions: text in a field of fixed size.

use core::fmt;

/// Text as it stands in a field of `N` bytes, where a zero byte ends it (§7.2.1, §7.3.5.1, §7.3.5.5): at most `N - 1` bytes,
/// none of them zero. The standard speaks of ASCII, and nobody has to keep to it: the bytes stay as they came, and
/// only printing puts a replacement character where they are no UTF-8 or control a terminal.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<const N: usize>(Box<[u8]>);

impl<const N: usize> Name<N> {
    /// What is in a field: up to its first zero byte. Of a name that has no end the last byte is lost.
    pub(crate) fn from_field(field: &[u8]) -> Self {
        let most = &field[..field.len().min(N - 1)];
        let end = most.iter().position(|&b| b == 0).unwrap_or(most.len());
        Self(most[..end].into())
    }

    /// The bytes in front of the zero byte.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// There is no name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Cut between two characters so that it fits.
impl<const N: usize> From<&str> for Name<N> {
    fn from(text: &str) -> Self {
        Self::from_field(&text.as_bytes()[..text.floor_char_boundary(N - 1)])
    }
}

impl<const N: usize> From<&String> for Name<N> {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl<const N: usize> From<String> for Name<N> {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl<const N: usize> PartialEq<str> for Name<N> {
    fn eq(&self, text: &str) -> bool {
        *self.0 == *text.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for Name<N> {
    fn eq(&self, text: &&str) -> bool {
        self == *text
    }
}

impl<const N: usize> fmt::Display for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        f.pad(&String::from_utf8_lossy(&self.0).chars().map(shown).collect::<String>())
    }
}

impl<const N: usize> fmt::Debug for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        assert_eq!(Name::<4>::from_field(b"e\xffh\0").as_bytes(), b"e\xffh");
        assert_eq!(Name::<4>::from_field(b"e\xff\0x").as_bytes(), b"e\xff", "a zero byte ends it");
        assert_eq!(Name::<4>::from_field(b"ethx").as_bytes(), b"eth", "one without an end is cut");
        assert_eq!(Name::<4>::from_field(b"e\xffh\0").to_string(), "e\u{fffd}h");
        assert_eq!(Name::<10>::from("a\ntable 7").to_string(), "a\u{fffd}table 7");
    }

    #[test]
    fn text_is_cut_between_two_characters() {
        assert_eq!(Name::<4>::from("p\u{e4}"), "p\u{e4}");
        assert_eq!(Name::<4>::from("pp\u{e4}"), "pp");
        assert_eq!(Name::<4>::from("a\0b".to_owned()), "a");
    }
}
