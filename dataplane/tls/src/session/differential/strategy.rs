//! Random steps, and the property.

use proptest::prelude::*;

use super::super::peer::SUITES;
use super::{PLAINTEXT_BYTES_MAX, STEPS_MAX, Step, compare};

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        8 => (0..=PLAINTEXT_BYTES_MAX).prop_map(Step::Data),
        8 => (0..100usize).prop_map(Step::Data),
        3 => (0..300usize, 1..300usize).prop_map(|(data, pad)| Step::Padded(data, pad)),
        2 => (1..=2u8, prop_oneof![Just(0), Just(90), any::<u8>()])
            .prop_map(|(level, description)| Step::Alert(level, description)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(level, what)| Step::Alert(level, what)),
        5 => any::<bool>().prop_map(Step::KeyUpdate),
        3 => Just(Step::Ticket),
        1 => (any::<u8>(), bytes(), any::<usize>())
            .prop_map(|(kind, body, split)| Step::Handshake(kind, body, split)),
        1 => (prop_oneof![0..22u8, 23..=255u8], bytes())
            .prop_map(|(kind, content)| Step::Content(kind, content)),
        1 => (0..100usize, any::<usize>()).prop_map(|(data, bit)| Step::Flipped(data, bit)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn our_session_does_what_rustls_does(
        receiver_is_client: bool,
        suite in prop::sample::select(&SUITES[..]),
        steps in prop::collection::vec(step(), 1..STEPS_MAX),
    ) {
        compare(receiver_is_client, suite, &steps);
    }
}
