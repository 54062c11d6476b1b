//! Where a head ends, found while it arrives in pieces of any size. Every byte is looked at once,
//! so a head that drips in costs no more than one that comes whole.

/// Finds the empty line after the last header field. Lines end in LF, with or without CR.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadEnd {
    scanned: usize,
    /// The current line has had no byte other than CR so far.
    line_is_empty: bool,
}

impl HeadEnd {
    /// Length of the head at the start of `bytes`, its empty line included. `bytes` must start with
    /// what was passed before.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(&byte) = bytes.get(self.scanned) {
            self.scanned += 1;
            match byte {
                b'\n' if self.line_is_empty => return Some(self.scanned),
                b'\n' => self.line_is_empty = true,
                b'\r' => {}
                _ => self.line_is_empty = false,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::HeadEnd;

    #[test]
    fn a_head_ends_at_its_empty_line() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\n\n",
            "a\r\n\n",
        ] {
            let bytes = format!("{head}leftover").into_bytes();
            assert_eq!(HeadEnd::default().find(&bytes), Some(head.len()));

            let mut dripping = HeadEnd::default();
            let found: Vec<_> = (0..bytes.len())
                .filter_map(|len| dripping.find(&bytes[..len]))
                .collect();
            assert_eq!(found.first(), Some(&head.len()));
        }
        assert_eq!(
            HeadEnd::default().find(b"GET / HTTP/1.1\r\nHost: a\r\n"),
            None
        );
    }
}
