//! Congestion marks of the outer header, passed to the inner one (RFC 6040, section 4.2).

const MASK: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT1: u8 = 0b01;
const CE: u8 = 0b11;

/// Combines the marks of the datagram with those of the packet it carried. False: the packet must be dropped, because
/// it was marked as congested and its sender would never hear of that.
pub(super) fn combine(outer: u8, packet: &mut [u8]) -> bool {
    let outer = outer & MASK;
    if outer != CE && outer != ECT1 {
        return true;
    }
    let inner = inner(packet);
    match (inner, outer) {
        (NOT_ECT, CE) => false,
        (NOT_ECT, _) => true,
        (CE, _) => true,
        (_, marked) => {
            set_inner(packet, marked);
            true
        }
    }
}

/// The mark of a packet.
pub(super) fn inner(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if first >> 4 == 4 => second & MASK,
        [first, second, ..] if first >> 4 == 6 => second >> 4 & MASK,
        _ => NOT_ECT,
    }
}

fn set_inner(packet: &mut [u8], ecn: u8) {
    match packet {
        [first, second, rest @ ..] if *first >> 4 == 4 => {
            let old = u16::from_be_bytes([*first, *second]);
            *second = *second & !MASK | ecn;
            let new = u16::from_be_bytes([*first, *second]);
            if let Some([high, low]) = rest.get_mut(8..10) {
                let sum = u16::from_be_bytes([*high, *low]);
                [*high, *low] = updated(sum, old, new).to_be_bytes();
            }
        }
        [first, second, ..] if *first >> 4 == 6 => {
            *second = *second & !(MASK << 4) | ecn << 4;
        }
        _ => {}
    }
}

/// A header checksum after one word of the header changed (RFC 1624).
fn updated(sum: u16, old: u16, new: u16) -> u16 {
    let total = u32::from(!sum) + u32::from(!old) + u32::from(new);
    let folded = (total & 0xffff) + (total >> 16);
    !((folded & 0xffff) as u16 + (folded >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECT0: u8 = 0b10;

    fn v4(ecn: u8) -> [u8; 20] {
        let mut header = [
            0x45, ecn, 0, 20, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        let sum = !total(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn v6(ecn: u8) -> [u8; 40] {
        let mut header = [0; 40];
        header[0] = 0x60;
        header[1] = ecn << 4 | 0x0a;
        header
    }

    fn total(header: &[u8]) -> u16 {
        let sum: u32 = header
            .chunks(2)
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        (sum & 0xffff) as u16 + (sum >> 16) as u16
    }

    #[test]
    fn marks_combine_as_the_table_of_rfc_6040_says() {
        // inner, outer, result; `None`: dropped.
        let table = [
            (NOT_ECT, NOT_ECT, Some(NOT_ECT)),
            (NOT_ECT, ECT0, Some(NOT_ECT)),
            (NOT_ECT, ECT1, Some(NOT_ECT)),
            (NOT_ECT, CE, None),
            (ECT0, NOT_ECT, Some(ECT0)),
            (ECT0, ECT0, Some(ECT0)),
            (ECT0, ECT1, Some(ECT1)),
            (ECT0, CE, Some(CE)),
            (ECT1, NOT_ECT, Some(ECT1)),
            (ECT1, ECT0, Some(ECT1)),
            (ECT1, ECT1, Some(ECT1)),
            (ECT1, CE, Some(CE)),
            (CE, NOT_ECT, Some(CE)),
            (CE, ECT0, Some(CE)),
            (CE, ECT1, Some(CE)),
            (CE, CE, Some(CE)),
        ];
        for (inner_mark, outer, result) in table {
            let (mut four, mut six) = (v4(inner_mark), v6(inner_mark));
            assert_eq!(combine(outer, &mut four), result.is_some());
            assert_eq!(combine(outer, &mut six), result.is_some());
            if let Some(result) = result {
                assert_eq!(inner(&four), result, "{inner_mark} {outer}");
                assert_eq!(inner(&six), result, "{inner_mark} {outer}");
                assert_eq!(total(&four), 0xffff, "the checksum is right");
                assert_eq!(six[1] & 0xf, 0x0a, "the flow label is as it was");
            }
        }
    }

    #[test]
    fn stumps_are_left_alone() {
        assert!(combine(CE, &mut [0x45, 2]));
        assert!(!combine(CE, &mut []));
    }
}
