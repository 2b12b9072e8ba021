//! DNS messages as far as a forwarder must read them (RFC 1035 §4.1, RFC 6891).

/// Bytes of the header.
pub(crate) const HEADER_LEN: usize = 12;
/// Longest name, its length bytes counted (RFC 1035 §3.1).
const MAX_NAME: usize = 255;
/// What everybody can take (RFC 1035 §4.2.1).
pub(crate) const LEAST_SIZE: usize = 512;

const SOA: u16 = 6;
const OPT: u16 = 41;

/// Of the third and fourth byte.
const RESPONSE: u16 = 0x8000;
const TRUNCATED: u16 = 0x0200;
const CHECKING_DISABLED: u16 = 0x0010;

/// A question that can be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub id: u16,
    /// Name, type and class as they are written.
    pub question: Vec<u8>,
    /// Bytes the asker can take.
    pub size: usize,
    /// What the answer depends on beside the question: EDNS, DNSSEC records wanted, checking disabled.
    pub flavour: u8,
}

/// A response, as far as a cache must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub id: u16,
    pub question: Vec<u8>,
    /// For how many seconds it may be kept; none: not at all.
    pub ttl: Option<u32>,
    /// Where the TTLs are.
    pub ttls_at: Vec<usize>,
    /// It was cut: the whole is to be had by TCP (RFC 7766 §5).
    pub is_cut: bool,
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The end of a name written without compression, as in questions.
fn whole_name(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match *bytes.get(at)? {
            0 => return (at + 1 - start <= MAX_NAME).then_some(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            _ => return None,
        }
    }
}

/// The end of a name that may end in a pointer. Where that leads is checked too: only backwards, so it comes to an end.
fn name(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut end, mut len, mut before) = (start, None, 0, start);
    loop {
        match *bytes.get(at)? {
            0 => break,
            n @ 1..=63 => {
                at += 1 + usize::from(n);
                len += 1 + usize::from(n);
            }
            0xc0.. => {
                end = end.or(Some(at + 2));
                let to = usize::from(word(bytes, at)? & 0x3fff);
                if to >= before {
                    return None;
                }
                (at, before) = (to, to);
            }
            _ => return None,
        }
        if len >= MAX_NAME {
            return None;
        }
    }
    Some(end.unwrap_or(at + 1))
}

/// The end of the one question.
fn question_end(bytes: &[u8]) -> Option<usize> {
    let end = whole_name(bytes, HEADER_LEN)? + 4;
    (word(bytes, 4)? == 1 && end <= bytes.len()).then_some(end)
}

/// A resource record: where its parts are.
struct Record {
    kind: u16,
    ttl_at: usize,
    data: core::ops::Range<usize>,
}

/// The record that begins at `start`.
fn record(bytes: &[u8], start: usize) -> Option<Record> {
    let at = name(bytes, start)?;
    let data_at = at + 10;
    let len = usize::from(word(bytes, at + 8)?);
    let data = data_at..data_at.checked_add(len).filter(|end| *end <= bytes.len())?;
    Some(Record { kind: word(bytes, at)?, ttl_at: at + 4, data })
}

/// All records with their section: 0 answers, 1 authority, 2 additional.
fn records(bytes: &[u8]) -> Option<Vec<(usize, Record)>> {
    let (mut at, mut all) = (question_end(bytes)?, Vec::new());
    for section in 0..3 {
        for _ in 0..word(bytes, 6 + 2 * section)? {
            let record = record(bytes, at)?;
            at = record.data.end;
            all.push((section, record));
        }
    }
    Some(all)
}

/// A question in small letters, by which it is found again.
pub(crate) fn folded(question: &[u8]) -> Vec<u8> {
    let (name, rest) = question.split_at(question.len().saturating_sub(4));
    [name.to_ascii_lowercase().as_slice(), rest].concat()
}

/// The name of a question as people write it, in small letters, without the last dot.
pub(crate) fn domain(question: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = question;
    while let [len @ 1..=63, tail @ ..] = rest {
        let Some((label, tail)) = tail.split_at_checked(usize::from(*len)) else { break };
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = tail;
    }
    labels.join(".")
}

impl Query {
    /// Reads a question; none if it is no standard query for one name.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let flags = word(bytes, 2)?;
        // A query, and the standard one (RFC 1035 §4.1.1: QR and OPCODE are zero).
        if flags & (RESPONSE | 0x7800) != 0 {
            return None;
        }
        let end = question_end(bytes)?;
        let records = records(bytes)?;
        let opt = records.iter().find(|(section, r)| *section == 2 && r.kind == OPT);
        let (mut size, mut flavour) = (LEAST_SIZE, 0);
        if let Some((_, opt)) = opt {
            size = usize::from(word(bytes, opt.ttl_at - 2)?).max(LEAST_SIZE);
            flavour = 1 | u8::from(word(bytes, opt.ttl_at + 2)? & 0x8000 != 0) << 1;
        }
        flavour |= u8::from(flags & CHECKING_DISABLED != 0) << 2;
        Some(Self { id: word(bytes, 0)?, question: bytes.get(HEADER_LEN..end)?.to_vec(), size, flavour })
    }

    /// The answer to this query made of a response to the same question: with its identification, the letters of its
    /// name, TTLs less the `age`, and cut if it is too long (RFC 2181 §9).
    pub(crate) fn answer(&self, response: &[u8], ttls_at: &[usize], age: u32) -> Vec<u8> {
        let mut bytes = response.to_vec();
        if let Some(id) = bytes.get_mut(..2) {
            id.copy_from_slice(&self.id.to_be_bytes());
        }
        if let Some(question) = bytes.get_mut(HEADER_LEN..HEADER_LEN + self.question.len()) {
            question.copy_from_slice(&self.question);
        }
        for at in ttls_at {
            if let (Some(ttl), Some(field)) = (long(&bytes, *at), bytes.get_mut(*at..*at + 4)) {
                field.copy_from_slice(&ttl.saturating_sub(age).to_be_bytes());
            }
        }
        if bytes.len() > self.size {
            bytes.truncate(HEADER_LEN + self.question.len());
            bytes[2] |= (TRUNCATED >> 8) as u8;
            bytes[6..HEADER_LEN].fill(0);
        }
        bytes
    }

    /// Tells the asker that nobody answers (RCODE 2), or that it may not ask this (RCODE 5).
    pub(crate) fn failure(&self, code: u8) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend([0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&self.question);
        bytes
    }
}

impl Response {
    /// Reads a response; none if it is none, or cannot be right.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let flags = word(bytes, 2)?;
        if flags & RESPONSE == 0 {
            return None;
        }
        let end = question_end(bytes)?;
        let records = records(bytes)?;
        let data = || records.iter().filter(|(_, r)| r.kind != OPT);
        let ttls_at: Vec<usize> = data().map(|(_, r)| r.ttl_at).collect();
        let ttl_of = |r: &Record| long(bytes, r.ttl_at).filter(|ttl| *ttl <= i32::MAX as u32);
        let has_answer = data().any(|(section, _)| *section == 0);
        let code = flags & 0xf;
        let ttl = match code {
            // RFC 1035 §7.4: what is cut is not kept.
            _ if flags & TRUNCATED != 0 => None,
            0 if has_answer => data().filter_map(|(_, r)| ttl_of(r)).min(),
            // RFC 2308 §5: the smaller of the TTL of the SOA and its last field; without one it is not kept.
            0 | 3 => data().find(|(section, r)| *section == 1 && r.kind == SOA).and_then(|(_, soa)| {
                let minimum = long(bytes, soa.data.end.checked_sub(4).filter(|at| *at >= soa.data.start)?)?;
                Some(minimum.min(ttl_of(soa)?))
            }),
            _ => None,
        };
        let question = bytes.get(HEADER_LEN..end)?.to_vec();
        let (id, is_cut) = (word(bytes, 0)?, flags & TRUNCATED != 0);
        Some(Self { id, question, ttl: ttl.filter(|ttl| *ttl > 0), ttls_at, is_cut })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn query(id: u16, name: &str) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes());
        }
        bytes.extend([0, 0, 1, 0, 1]);
        bytes
    }

    /// An answer of one address with a name that points at the question's.
    pub(crate) fn reply(query: &[u8], ttl: u32) -> Vec<u8> {
        let mut bytes = query.to_vec();
        (bytes[2], bytes[3], bytes[7]) = (0x81, 0x80, 1);
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend([0, 4, 192, 0, 2, 7]);
        bytes
    }

    #[test]
    fn d05_names_that_are_wrong_are_refused() {
        let good = query(7, "www.example.org");
        let parsed = Query::parse(&good).expect("a query");
        assert_eq!((parsed.id, parsed.size, domain(&parsed.question)), (7, 512, "www.example.org".into()));
        for cut in 0..good.len() {
            assert_eq!(Query::parse(&good[..cut]), None, "cut at {cut}");
        }
        // 253 letters and dots are the most (RFC 1035 §2.3.4).
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert!(Query::parse(&query(1, &long)).is_some());
        assert_eq!(Query::parse(&query(1, &format!("{long}x"))), None);
        // A pointer to itself, forwards, in a circle, beyond the end.
        let mut answer = reply(&good, 60);
        let at = good.len();
        assert!(Response::parse(&answer).is_some());
        for pointer in [at as u16, at as u16 + 2, 0x3fff] {
            answer[at..at + 2].copy_from_slice(&(0xc000 | pointer).to_be_bytes());
            assert_eq!(Response::parse(&answer), None, "pointer to {pointer}");
        }
        let mut question = good.clone();
        question[12..14].copy_from_slice(&[0xc0, 12]);
        assert_eq!(Query::parse(&question), None, "a pointer in the question");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(at in 0usize..200, byte: u8, cut in 0usize..200) {
            let mut bytes = reply(&query(7, "www.example.org"), 60);
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut % bytes.len());
            let _ = Query::parse(&bytes);
            if let Some(response) = Response::parse(&bytes) {
                prop_assert!(response.ttls_at.iter().all(|at| at + 4 <= bytes.len()));
            }
        }
    }
}
