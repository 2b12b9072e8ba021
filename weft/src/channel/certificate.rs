//! The little of a certificate that people want to read: whose it is. Trust is decided elsewhere (`tls`).

/// An element of DER: its tag, its contents, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |len, &digit| len << 8 | usize::from(digit)), rest)
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((tag, contents, rest))
}

/// Issuer and subject of a certificate (RFC 5280 §4.1), as lists of names.
fn issuer_and_subject(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number and algorithm.
    for _ in 0..2 {
        rest = element(rest)?.2;
    }
    let (_, issuer, rest) = element(rest)?;
    let (_, _validity, rest) = element(rest)?;
    Some((issuer, element(rest)?.1))
}

/// Whether a certificate says that nobody but its owner has signed it.
pub fn is_self_signed(der: &[u8]) -> bool {
    issuer_and_subject(der).is_some_and(|(issuer, subject)| issuer == subject)
}

/// The common name of the subject (RFC 5280 §4.1.2.6), if there is one that is text.
pub fn common_name(der: &[u8]) -> Option<String> {
    // 2.5.4.3
    const COMMON_NAME: [u8; 5] = [6, 3, 0x55, 4, 3];
    let (_, mut names) = issuer_and_subject(der)?;
    while let Some((_, set, rest)) = element(names) {
        names = rest;
        let Some((_, attribute, _)) = element(set) else { continue };
        if let Some(value) = attribute.strip_prefix(&COMMON_NAME) {
            let (_, value, _) = element(value)?;
            let text = str::from_utf8(value).ok()?;
            // It came from outside and goes to terminals.
            return Some(text.chars().filter(|c| !c.is_control()).take(64).collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_no_bytes_hurt() {
        let mut params = rcgen::CertificateParams::new(vec!["other".to_owned()]).expect("a name");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "weft");
        params.distinguished_name.push(rcgen::DnType::CommonName, "switch\u{7}-ü");
        let key = rcgen::KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("a certificate").der().to_vec();
        assert_eq!(common_name(&der).as_deref(), Some("switch-ü"));
        assert!(is_self_signed(&der));
        for len in 0..der.len() {
            let _ = common_name(&der[..len]);
            let mut broken = der.clone();
            broken[len] ^= 0xff;
            let _ = common_name(&broken);
        }
    }
}
