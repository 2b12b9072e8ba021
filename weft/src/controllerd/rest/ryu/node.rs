//! The body of a request, value by value, each with where it stands.

use controller_api::Problem;
use serde_json::Value;

use super::names::Names;

/// A value and its pointer (RFC 6901). What is absent has its place, too.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    value: Option<&'a Value>,
    pointer: String,
}

impl<'a> Node<'a> {
    /// The whole body.
    pub fn root(value: &'a Value) -> Self {
        Self { value: Some(value), pointer: String::new() }
    }

    /// A member of an object.
    ///
    /// # Errors
    /// This is no object.
    pub fn get(&self, key: &str) -> Result<Node<'a>, Problem> {
        let value = match self.value {
            Some(Value::Object(object)) => object.get(key),
            None => None,
            Some(_) => return Err(self.wrong("an object")),
        };
        Ok(self.below(key, value))
    }

    /// The members of an object; none if it is absent.
    ///
    /// # Errors
    /// This is no object.
    pub fn members(&self) -> Result<Vec<(&'a str, Node<'a>)>, Problem> {
        match self.value {
            Some(Value::Object(object)) => {
                Ok(object.iter().map(|(key, value)| (key.as_str(), self.below(key, Some(value)))).collect())
            }
            None => Ok(Vec::new()),
            Some(_) => Err(self.wrong("an object")),
        }
    }

    /// The items of a list; none if it is absent.
    ///
    /// # Errors
    /// This is no list.
    pub fn items(&self) -> Result<Vec<Node<'a>>, Problem> {
        match self.value {
            Some(Value::Array(items)) => {
                let item = |(idx, value): (usize, &'a Value)| self.below(&idx.to_string(), Some(value));
                Ok(items.iter().enumerate().map(item).collect())
            }
            None => Ok(Vec::new()),
            Some(_) => Err(self.wrong("a list")),
        }
    }

    /// Whether there is no such value.
    pub fn is_absent(&self) -> bool {
        self.value.is_none()
    }

    /// The bare value.
    pub fn value(&self) -> Option<&'a Value> {
        self.value
    }

    /// A text.
    ///
    /// # Errors
    /// This is none.
    pub fn text(&self) -> Result<&'a str, Problem> {
        self.value.and_then(Value::as_str).ok_or_else(|| self.wrong("a text"))
    }

    /// A number, or a text that is one (`"0x10"`); `or_else` if it is absent.
    ///
    /// # Errors
    /// This is none, or greater than `most`.
    pub fn number(&self, most: u64, or_else: Option<u64>) -> Result<u64, Problem> {
        let number = match self.value {
            None => or_else,
            Some(value) => number_of(value),
        };
        match number {
            Some(number) if number <= most => Ok(number),
            _ => Err(self.wrong(&format!("a number from 0 to {most}"))),
        }
    }

    /// A number of 16 bits; 0 if it is absent.
    ///
    /// # Errors
    /// This is none.
    pub fn short(&self) -> Result<u16, Problem> {
        self.number(u16::MAX.into(), Some(0)).map(|n| n as u16)
    }

    /// A number of 32 bits; 0 if it is absent.
    ///
    /// # Errors
    /// This is none.
    pub fn long(&self) -> Result<u32, Problem> {
        self.number(u32::MAX.into(), Some(0)).map(|n| n as u32)
    }

    /// A number that may go by a name; `or_else` if it is absent.
    ///
    /// # Errors
    /// This is none.
    pub fn named(&self, names: Names, or_else: u32) -> Result<u32, Problem> {
        let by_name = self.value.and_then(Value::as_str).and_then(|text| names.find(text));
        match by_name {
            Some(number) => Ok(number),
            None => self
                .number(u32::MAX.into(), Some(or_else.into()))
                .map(|n| n as u32)
                .map_err(|_| self.wrong(&format!("a number, or one of {}", names.all()))),
        }
    }

    /// What is wrong with it.
    pub fn wrong(&self, expected: &str) -> Problem {
        let found = match self.value {
            None => "nothing".to_owned(),
            // Long ones would bury the reason.
            Some(value) => value.to_string().chars().take(60).collect(),
        };
        Problem::invalid(self.pointer.clone(), format!("expected {expected}, found {found}"))
    }

    /// Where it stands.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    fn below(&self, key: &str, value: Option<&'a Value>) -> Node<'a> {
        let key = key.replace('~', "~0").replace('/', "~1");
        // Ryu's clients send null for what they leave out.
        let value = value.filter(|value| !value.is_null());
        Node { value, pointer: format!("{}/{key}", self.pointer) }
    }
}

fn number_of(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => number_in(text).and_then(|n| u64::try_from(n).ok()),
        _ => None,
    }
}

/// A number as Python reads it with base 0.
pub fn number_in(text: &str) -> Option<u128> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (&text[2..], 16),
        Some("0o") => (&text[2..], 8),
        Some("0b") => (&text[2..], 2),
        _ => (text, 10),
    };
    // Signs are read by the standard library and have no place here.
    if digits.starts_with(['+', '-']) { None } else { u128::from_str_radix(digits, radix).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_as_python_reads_them_and_named_where_they_are_wrong() {
        let body = json!({"a": ["0x10", 7, null], "b/c": {"port": "OFPP_LOCAL"}, "n": -1});
        let root = Node::root(&body);
        let items = root.get("a").unwrap().items().unwrap();
        assert_eq!((items[0].short().unwrap(), items[1].short().unwrap()), (16, 7));
        assert_eq!(items[2].short().unwrap(), 0, "null is nothing");
        let port = root.get("b/c").unwrap().get("port").unwrap();
        assert_eq!(
            (port.named(super::super::names::PORTS, 0).unwrap(), port.pointer()),
            (0xffff_fffe, "/b~1c/port")
        );
        assert_eq!(root.get("n").unwrap().short().unwrap_err().pointer.unwrap(), "/n");
        assert_eq!(root.get("a").unwrap().get("x").unwrap_err().pointer.unwrap(), "/a");
        assert_eq!(
            (number_in("0b11"), number_in("+1"), number_in("1.0"), number_in("0x")),
            (Some(3), None, None, None)
        );
    }
}
