//! The local admin socket: what `towline relay status` and its siblings say to a running relay.
