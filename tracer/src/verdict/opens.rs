//! What the backend's own sockets say of handshakes that the wire saw completed.

use crate::evidence::{Backend, Place};

/// How many the backend's sockets completed, a sentence. `None` when that says
/// nothing: no attempt of the window is known to have been sent to it.
pub(super) fn sentence(backend: &Backend) -> Option<String> {
    let opens = backend.passive_opens;
    let told = match &backend.place {
        _ if opens > 0 => {
            return Some(format!(
                "The backend's own sockets on this node completed {opens} handshakes in that time."
            ));
        }
        _ if backend.attempts == 0 => return None,
        Place::Here(pod) if pod.listener.is_some() => {
            "Its listener on this node completed no handshake in that time: what the wire saw of \
             them never became a connection in the pod."
        }
        Place::Beyond => {
            "No socket of this kernel completed a handshake there: the backend is on another node."
        }
        Place::Here(_) | Place::Unknown => {
            "No socket of this kernel completed a handshake there: the backend is on another node, \
             or something else holds its connections (a proxy, a sandbox with its own TCP stack)."
        }
    };
    Some(told.to_owned())
}
