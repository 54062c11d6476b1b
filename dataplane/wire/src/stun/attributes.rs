//! The attributes of a STUN message: type, length, value, padding to four bytes (RFC 8489 section 14).

use super::StunError;

pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// XOR-MAPPED-ADDRESS as drafts numbered it, among the attributes that may be ignored; some servers
/// still send it.
pub(super) const XOR_MAPPED_ADDRESS_DRAFT: u16 = 0x8020;
pub(super) const SOFTWARE: u16 = 0x8022;
pub(super) const FINGERPRINT: u16 = 0x8028;

/// One attribute.
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) value: &'a [u8],
    /// Where it starts, in bytes after the header of the message.
    pub(super) offset: usize,
    pub(super) is_last: bool,
}

/// Walks over attributes; ends after the first that is malformed.
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Attributes<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            offset: 0,
        }
    }

    fn take(&mut self) -> Option<Attribute<'a>> {
        let (&[k0, k1, l0, l1], rest) = self.rest.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let value = rest.get(..len)?;
        let next = rest.get(len.next_multiple_of(4)..)?;
        let offset = self.offset;
        self.offset += self.rest.len() - next.len();
        self.rest = next;
        let kind = u16::from_be_bytes([k0, k1]);
        Some(Attribute {
            kind,
            value,
            offset,
            is_last: next.is_empty(),
        })
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, StunError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attribute = self.take().ok_or(StunError::Malformed);
        if attribute.is_err() {
            self.rest = &[];
        }
        Some(attribute)
    }
}

/// Whether a request with this attribute can be answered by one that ignores it. The upper half may
/// always be ignored; of the lower half, those that RFC 8489 defines: a server that asks for no
/// authentication ignores what belongs to it. Others, such as CHANGE-REQUEST, ask for behaviour
/// that a plain answer would feign.
pub(super) const fn may_be_ignored(kind: u16) -> bool {
    matches!(kind, 0x8000.. | 0x0001 | 0x0006 | 0x0008..=0x000a | 0x0014 | 0x0015 | 0x001c..=0x001e | 0x0020)
}
