//! Values in the query of a URL.

/// The first value of that name, with `+` and `%` undone; `None` when it is missing or not UTF-8.
pub(super) fn value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs
        .into_iter()
        .find_map(|(key, value)| (key == name).then_some(value))?;
    decode(value)
}

/// A `%` that does not begin an escape stands for itself.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => decoded.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    rest = after;
                }
                _ => decoded.push(b'%'),
            },
            (byte, _) => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        assert_eq!(value("a=1&q=x%2fy+z&q=2", "q").as_deref(), Some("x/y z"));
        assert_eq!(value("q=%", "q").as_deref(), Some("%"));
        assert_eq!(value("q=%zz%4", "q").as_deref(), Some("%zz%4"));
        assert_eq!(value("q=%ff", "q"), None);
        assert_eq!(value("", "q"), None);
        assert_eq!(value("q", "q"), None);
    }
}
