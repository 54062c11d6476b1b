//! The side that speaks first.

use towline_wire::wireguard::{INITIATION, KEY_LEN, Response, TAG_LEN, TIMESTAMP_LEN};

use super::symmetric::Symmetric;
use super::{INITIATION_BODY_LEN, Keys, Pair, Refused};
use crate::key::Agreement;

/// A handshake that waits for its response.
pub(crate) struct Initiated {
    state: Symmetric,
    ephemeral: Agreement,
    /// The index that the response must name.
    pub(crate) local: u32,
}

impl Initiated {
    /// Begins a handshake. `ephemeral` is random and used once; `local` is our index.
    ///
    /// # Errors
    /// The peer's key is of low order.
    pub(crate) fn new(
        pair: &Pair<'_>,
        ephemeral: &[u8; KEY_LEN],
        local: u32,
        timestamp: &[u8; TIMESTAMP_LEN],
    ) -> Result<(Self, [u8; INITIATION_BODY_LEN]), Refused> {
        let mut message = [0; INITIATION_BODY_LEN];
        message[..4].copy_from_slice(&INITIATION.to_le_bytes());
        message[4..8].copy_from_slice(&local.to_le_bytes());
        let (ephemeral_out, rest) = message[8..].split_at_mut(KEY_LEN);
        let (static_out, timestamp_out) = rest.split_at_mut(KEY_LEN + TAG_LEN);

        let ephemeral = Agreement::new(ephemeral);
        let mut state = Symmetric::new(&pair.theirs.0);
        state.mix_ephemeral(&ephemeral.public.0);
        ephemeral_out.copy_from_slice(&ephemeral.public.0);

        let key = state.mix_key(&*ephemeral.agree(&pair.theirs.0).ok_or(Refused)?);
        static_out[..KEY_LEN].copy_from_slice(&pair.ours.public.0);
        state.seal(&key, static_out);

        let key = state.mix_key(pair.shared.ok_or(Refused)?);
        timestamp_out[..TIMESTAMP_LEN].copy_from_slice(timestamp);
        state.seal(&key, timestamp_out);

        let initiated = Self {
            state,
            ephemeral,
            local,
        };
        Ok((initiated, message))
    }

    /// Reads the response. The handshake stays as it is: a forged response must not end it.
    ///
    /// # Errors
    /// The response is not the peer's.
    pub(crate) fn finish(&self, pair: &Pair<'_>, response: &Response<'_>) -> Result<Keys, Refused> {
        let mut state = self.state.clone();
        state.mix_ephemeral(response.ephemeral);
        state.mix_chaining(&*self.ephemeral.agree(response.ephemeral).ok_or(Refused)?);
        state.mix_chaining(&*pair.ours.agree(response.ephemeral).ok_or(Refused)?);
        let key = state.mix_preshared(pair.preshared.as_bytes());
        state.open::<0>(&key, response.sealed_nothing)?;
        let [sending, receiving] = state.split();
        Ok(Keys {
            sending,
            receiving,
            remote: response.sender,
        })
    }
}
