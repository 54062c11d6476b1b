//! The side that answers.

use towline_wire::wireguard::{Initiation, KEY_LEN, RESPONSE, TIMESTAMP_LEN};

use super::symmetric::Symmetric;
use super::{Keys, RESPONSE_BODY_LEN, Refused};
use crate::key::{Agreement, PresharedKey, Shared, StaticPublic};

/// An initiation that somebody made who knows our public key and claims to be `peer`.
pub(crate) struct Received {
    state: Symmetric,
    pub(crate) peer: StaticPublic,
}

/// An initiation that the peer made.
pub(crate) struct Checked {
    state: Symmetric,
    peer: StaticPublic,
    ephemeral: [u8; KEY_LEN],
    remote: u32,
    /// When the peer made it, by its clock.
    pub(crate) timestamp: [u8; TIMESTAMP_LEN],
}

impl Received {
    /// Learns who sent the initiation: the costly step that strangers can cause.
    ///
    /// # Errors
    /// It was not made for us.
    pub(crate) fn open(ours: &Agreement, initiation: &Initiation<'_>) -> Result<Self, Refused> {
        let mut state = Symmetric::new(&ours.public.0);
        state.mix_ephemeral(initiation.ephemeral);
        let key = state.mix_key(&*ours.agree(initiation.ephemeral).ok_or(Refused)?);
        let peer = state.open(&key, initiation.sealed_static)?;
        Ok(Self {
            state,
            peer: StaticPublic(peer),
        })
    }

    /// Proves that it comes from the peer. `shared` is what our static keys agree on.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check(
        mut self,
        shared: Option<&Shared>,
        initiation: &Initiation<'_>,
    ) -> Result<Checked, Refused> {
        let key = self.state.mix_key(shared.ok_or(Refused)?);
        let timestamp = self.state.open(&key, initiation.sealed_timestamp)?;
        Ok(Checked {
            state: self.state,
            peer: self.peer,
            ephemeral: *initiation.ephemeral,
            remote: initiation.sender,
            timestamp,
        })
    }
}

impl Checked {
    /// Answers, and has the keys. `ephemeral` is random and used once; `local` is our index.
    ///
    /// # Errors
    /// The peer's ephemeral key is of low order.
    pub(crate) fn respond(
        mut self,
        preshared: &PresharedKey,
        ephemeral: &[u8; KEY_LEN],
        local: u32,
    ) -> Result<(Keys, [u8; RESPONSE_BODY_LEN]), Refused> {
        let mut message = [0; RESPONSE_BODY_LEN];
        message[..4].copy_from_slice(&RESPONSE.to_le_bytes());
        message[4..8].copy_from_slice(&local.to_le_bytes());
        message[8..12].copy_from_slice(&self.remote.to_le_bytes());
        let (ephemeral_out, nothing_out) = message[12..].split_at_mut(KEY_LEN);

        let ephemeral = Agreement::new(ephemeral);
        self.state.mix_ephemeral(&ephemeral.public.0);
        ephemeral_out.copy_from_slice(&ephemeral.public.0);
        self.state
            .mix_chaining(&*ephemeral.agree(&self.ephemeral).ok_or(Refused)?);
        self.state
            .mix_chaining(&*ephemeral.agree(&self.peer.0).ok_or(Refused)?);
        let key = self.state.mix_preshared(preshared.as_bytes());
        self.state.seal(&key, nothing_out);

        let [receiving, sending] = self.state.split();
        let keys = Keys {
            sending,
            receiving,
            remote: self.remote,
        };
        Ok((keys, message))
    }
}
