//! As much of DER and X.509 as we need to read: the serial number, common name and validity of
//! a certificate. Input is a stranger's; anything unexpected is `None`.
//!
//! Not a verifier: chains are `rustls-webpki`'s.

const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The fields of a certificate that we read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    /// Big-endian, as encoded.
    pub(super) serial: &'a [u8],
    /// The first common name of the subject.
    pub(super) common_name: Option<&'a [u8]>,
    /// Seconds since 1970.
    pub(super) not_before_secs: u64,
    /// Seconds since 1970.
    pub(super) not_after_secs: u64,
}

/// Reads a certificate (RFC 5280, section 4.1).
pub(super) fn read_certificate(der: &[u8]) -> Option<Fields<'_>> {
    let certificate = Reader(der).take(SEQUENCE)?;
    let mut tbs = Reader(Reader(certificate).take(SEQUENCE)?);
    if tbs.peek() == Some(VERSION) {
        tbs.take(VERSION)?;
    }
    let serial = tbs.take(INTEGER)?;
    tbs.take(SEQUENCE)?; // Signature algorithm.
    tbs.take(SEQUENCE)?; // Issuer.
    let mut validity = Reader(tbs.take(SEQUENCE)?);
    let not_before_secs = validity.take_time()?;
    let not_after_secs = validity.take_time()?;
    let subject = tbs.take(SEQUENCE)?;
    Some(Fields {
        serial,
        common_name: find_common_name(subject),
        not_before_secs,
        not_after_secs,
    })
}

fn find_common_name(subject: &[u8]) -> Option<&[u8]> {
    let mut names = Reader(subject);
    while names.peek().is_some() {
        let mut set = Reader(names.take(SET)?);
        while set.peek().is_some() {
            let mut attribute = Reader(set.take(SEQUENCE)?);
            let is_common_name = attribute.take(OID)? == COMMON_NAME;
            let (_, value) = attribute.take_any()?;
            if is_common_name {
                return Some(value);
            }
        }
    }
    None
}

/// The elements that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        match self.take_any()? {
            (found, content) if found == tag => Some(content),
            _ => None,
        }
    }

    fn take_any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Certificates are shorter than 64 KiB: rustls takes no longer message.
            0x81 => {
                let (&[a], rest) = rest.split_first_chunk::<1>()?;
                (usize::from(a), rest)
            }
            0x82 => {
                let (&bytes, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(bytes)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5).
    fn take_time(&mut self) -> Option<u64> {
        let (tag, text) = self.take_any()?;
        let (year, rest) = match tag {
            UTC_TIME => match digits(text.get(..2)?)? {
                year @ 0..50 => (2000 + year, &text[2..]),
                year => (1900 + year, &text[2..]),
            },
            GENERALIZED_TIME => (digits(text.get(..4)?)?, &text[4..]),
            _ => return None,
        };
        let &[m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'Z'] = rest else {
            return None;
        };
        let (month, day) = (digits(&[m1, m2])?, digits(&[d1, d2])?);
        let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[n1, n2])?, digits(&[s1, s2])?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
            return None;
        }
        let days = days_since_1970(year, month, day)?;
        Some(days * 86_400 + hour * 3600 + minute * 60 + second)
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |number, &byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u64::from(byte - b'0'))
    })
}

/// Days of the Gregorian calendar, counting years from March so that the leap day is the last.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days_since_march_of_0 = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days_since_march_of_0.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms() {
        let read = |tag, text: &[u8]| {
            let mut der = vec![tag, text.len() as u8];
            der.extend_from_slice(text);
            Reader(&der).take_time()
        };
        assert_eq!(read(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, b"000229120001Z"), Some(951_825_601));
        assert_eq!(read(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(
            read(GENERALIZED_TIME, b"20500101000000Z"),
            Some(2_524_608_000)
        );
        assert_eq!(read(UTC_TIME, b"701301000000Z"), None);
        assert_eq!(read(UTC_TIME, b"7001010000"), None);
        assert_eq!(read(GENERALIZED_TIME, b"19691231235959Z"), None);
    }

    #[test]
    fn truncated_certificates_are_refused() {
        let der = super::super::meta::certificate(&[7; 32], rustls::pki_types::UnixTime::now());
        let der = der.unwrap();
        for len in 0..der.len() {
            // The name lies before the signature, but the outer length covers all.
            assert_eq!(read_certificate(&der[..len]), None);
        }
        assert!(read_certificate(&der).is_some());
    }
}
