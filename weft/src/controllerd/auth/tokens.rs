//! Tokens and whose they are. The file holds their digests: whoever reads it cannot use them.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::service::daemon_name;

/// Bytes of a token: too many to guess, so that a plain digest will do.
const TOKEN_SIZE: usize = 32;

/// What the holder of a token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Look.
    Viewer,
    /// And declare, and change switches by hand.
    Operator,
    /// See and change the intents of one tenant.
    Tenant(String),
    /// Everything.
    Admin,
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("tenant", name)) => daemon_name(name).map(Self::Tenant),
            None if text == "viewer" => Ok(Self::Viewer),
            None if text == "operator" => Ok(Self::Operator),
            None if text == "admin" => Ok(Self::Admin),
            _ => Err(format!("\"{text}\" is no role: viewer, operator, admin or tenant:NAME is expected")),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Viewer => f.write_str("viewer"),
            Self::Operator => f.write_str("operator"),
            Self::Tenant(name) => write!(f, "tenant:{name}"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Their name, for the record.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// All tokens, by digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens(HashMap<[u8; 32], Account>);

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, by line.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Lines `NAME ROLE DIGEST`; `#` begins a comment.
    fn parse(text: &str, place: &str) -> anyhow::Result<Self> {
        let mut tokens = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            let (name, role, digest) = match words[..] {
                [] => continue,
                [name, role, digest] => (name, role, digest),
                _ => bail!(
                    "{place}:{number}: NAME ROLE DIGEST is expected; `weft ctl token` writes such lines"
                ),
            };
            let wrong = |error: String| anyhow::anyhow!("{place}:{number}: {error}");
            let name = daemon_name(name).map_err(wrong)?;
            let role = role.parse().map_err(wrong)?;
            let digest = digest_in(digest).ok_or_else(|| {
                wrong("a digest is 64 hexadecimal digits (SHA-256 of the token)".to_owned())
            })?;
            if tokens.insert(digest, Account { name, role }).is_some() {
                bail!("{place}:{number}: this token is somebody else's already");
            }
        }
        if tokens.is_empty() {
            bail!("{place} holds no token: `weft ctl token` makes one");
        }
        Ok(Self(tokens))
    }

    /// Whose token it is. What is compared are digests, so the time it takes says nothing about tokens.
    pub fn account(&self, token: &str) -> Option<&Account> {
        self.0.get(&digest_of(token))
    }
}

fn digest_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn digest_in(text: &str) -> Option<[u8; 32]> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    is_hex.then_some(digest)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new token, and its line for the file.
pub fn mint(name: &str, role: &Role) -> (String, String) {
    let bytes: [u8; TOKEN_SIZE] = rand::random();
    let token = format!("weft_{}", hex(&bytes));
    let line = format!("{name} {role} {}", hex(&digest_of(&token)));
    (token, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_minted_is_known_again_and_nothing_else() {
        let (token, line) = mint("alice", &Role::Tenant("acme".to_owned()));
        let tokens = Tokens::parse(&format!("# people\n\n{line} # until May\n"), "tokens").unwrap();
        let account = Account { name: "alice".to_owned(), role: Role::Tenant("acme".to_owned()) };
        assert_eq!(tokens.account(&token), Some(&account));
        assert_eq!(tokens.account(&token[..token.len() - 1]), None);
        assert!(!line.contains(&token));
        // FIPS 180-4: the digest of "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&digest_of("abc")), abc);
    }

    #[test]
    fn mistakes_are_named_by_line() {
        let digest = "0".repeat(64);
        for (text, expected) in [
            ("".to_owned(), "holds no token"),
            ("alice admin".to_owned(), "tokens:1: NAME ROLE DIGEST"),
            (format!("\nalice king {digest}"), "tokens:2: \"king\" is no role"),
            (format!("a/b admin {digest}"), "tokens:1: at most 64 letters"),
            ("alice admin 12".to_owned(), "64 hexadecimal digits"),
            (format!("alice admin {digest}\nbob viewer {digest}"), "tokens:2: this token is somebody else's"),
        ] {
            let error = Tokens::parse(&text, "tokens").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
