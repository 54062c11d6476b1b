//! derper's JSON file of rate limits (`-rate-config`).

use std::path::Path;

use crate::bounded_file;

/// Larger than any such file.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Reads the file: bytes per second and burst in bytes. Names match as Go matches them, whatever
/// their case. A name that we do not know stops the start: a limit that is not applied would
/// leave unprotected what the operator thinks is protected.
pub(super) fn read(path: &Path) -> Result<(u64, u64), String> {
    let text = bounded_file::open_text(path, FILE_BYTES_MAX)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    parse(&text).map_err(|message| format!("{}: {message}", path.display()))
}

fn parse(text: &str) -> Result<(u64, u64), String> {
    const RATE: &str = "PerClientRateLimitBytesPerSec";
    const BURST: &str = "PerClientRateBurstBytes";
    let entries: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let (mut rate, mut burst) = (0, 0);
    for (name, value) in &entries {
        let field = if name.eq_ignore_ascii_case(RATE) {
            &mut rate
        } else if name.eq_ignore_ascii_case(BURST) {
            &mut burst
        } else {
            return Err(format!("{name:?} is unknown; there are {RATE} and {BURST}"));
        };
        *field = value
            .as_u64()
            .ok_or_else(|| format!("{name} must be a whole number of bytes"))?;
    }
    Ok((rate, burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_file_is_refused_by_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rates.json");
        let mut text = " ".repeat(FILE_BYTES_MAX as usize - 2) + "{}";
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(&path), Ok((0, 0)));
        text.push('\n');
        std::fs::write(&path, &text).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("longer than 65536 bytes"), "{error}");
    }

    #[test]
    fn limits_as_derper_reads_them() {
        let both = r#"{"PerClientRateLimitBytesPerSec": 1, "PerClientRateBurstBytes": 2}"#;
        assert_eq!(parse(both), Ok((1, 2)));
        assert_eq!(parse(r#"{"perclientratelimitbytespersec": 5}"#), Ok((5, 0)));
        assert_eq!(parse("{}"), Ok((0, 0)));
        for wrong in [
            "",
            "[]",
            r#"{"PerClientRateLimitBytesPerSec": -1}"#,
            r#"{"GlobalRate": 1}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
