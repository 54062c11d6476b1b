//! Reads requests from a stream, line by line: nothing is kept of the text but the line that is not yet whole.

use zeroize::{Zeroize, Zeroizing};

use super::limits::{LINE_BYTES_MAX, REQUEST_LINES_MAX};
use super::request::Refused;
use super::{Request, SetDevice, UapiError};

/// Reads one request after another.
pub struct Reader {
    scope: fn(&str) -> Option<u32>,
    line: Zeroizing<[u8; LINE_BYTES_MAX]>,
    /// Bytes of the line so far; more than there is room for are counted only.
    line_bytes: usize,
    /// Whole lines of the request so far.
    lines: usize,
    request: Result<Option<Request>, UapiError>,
}

/// A reader that knows interfaces by number only.
impl Default for Reader {
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl Reader {
    /// A reader at the start of a stream. `scope` gives the number of an interface by its name, for link-local endpoints.
    #[must_use]
    pub fn new(scope: fn(&str) -> Option<u32>) -> Self {
        Self {
            scope,
            line: Zeroizing::new([0; LINE_BYTES_MAX]),
            line_bytes: 0,
            lines: 0,
            request: Ok(None),
        }
    }

    /// Takes bytes of the stream up to the end of a request. Returns how many it took, and the request if it is whole.
    ///
    /// One that is refused is read to its end all the same, because `wg` reads no answer before it has written all; then
    /// the next one can begin. A first line that is no operation is the exception: where that ends, nobody knows.
    pub fn read(&mut self, bytes: &[u8]) -> (usize, Option<Result<Request, UapiError>>) {
        let mut used = 0;
        while let Some(byte) = bytes.get(used) {
            used += 1;
            if *byte != b'\n' {
                if let Some(place) = self.line.get_mut(self.line_bytes) {
                    *place = *byte;
                }
                self.line_bytes = (self.line_bytes + 1).min(LINE_BYTES_MAX + 1);
                continue;
            }
            if let Some(request) = self.end_line() {
                return (used, Some(request));
            }
        }
        (used, None)
    }

    fn end_line(&mut self) -> Option<Result<Request, UapiError>> {
        self.lines = self.lines.saturating_add(1);
        let ends = self.lines > 1 && self.line_bytes == 0;
        if !ends && let Ok(request) = &mut self.request {
            let line = self.line.get(..self.line_bytes);
            let taken = line
                .ok_or(UapiError::LineTooLong { line: self.lines })
                .and_then(|line| take(request, line, self.lines, self.scope));
            if let Err(error) = taken {
                self.request = Err(error);
            }
        }
        self.line.zeroize();
        self.line_bytes = 0;
        let ends = ends || matches!(self.request, Err(UapiError::Operation));
        if !ends {
            return None;
        }
        self.lines = 0;
        let request = core::mem::replace(&mut self.request, Ok(None));
        request.transpose()
    }
}

/// Takes a line that does not end the request.
fn take(
    request: &mut Option<Request>,
    line: &[u8],
    number: usize,
    scope: fn(&str) -> Option<u32>,
) -> Result<(), UapiError> {
    if number > REQUEST_LINES_MAX {
        return Err(UapiError::TooManyLines);
    }
    match request {
        None => {
            *request = Some(match line {
                b"get=1" => Request::Get,
                b"set=1" => Request::Set(SetDevice::default()),
                _ => return Err(UapiError::Operation),
            });
            Ok(())
        }
        Some(Request::Get) => Err(UapiError::Key { line: number }),
        Some(Request::Set(set)) => {
            let line = str::from_utf8(line).map_err(|_| UapiError::Line { line: number })?;
            let (key, value) = line
                .split_once('=')
                .ok_or(UapiError::Line { line: number })?;
            set.line(key, value, scope)
                .map_err(|refused| match refused {
                    Refused::Key => UapiError::Key { line: number },
                    Refused::Value(key) => UapiError::Value { key, line: number },
                })
        }
    }
}
