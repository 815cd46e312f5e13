//! Peer metadata on the way: taken out of messages, decoded once per peer, answered when asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use outrigger_config::model::Workload;

use super::peer_metadata::{PEER_METADATA, PEER_METADATA_ID, PeerMetadata, decode};

/// Peers remembered per worker, as in Istio's filter.
const CACHED_PEERS: usize = 500;

thread_local! {
    /// Decoded peers by node id. A worker is a thread; what one forgets it decodes again.
    static PEERS: RefCell<HashMap<HeaderValue, (HeaderValue, Arc<Workload>)>> = RefCell::default();
}

/// What a message carried.
#[derive(Clone, Debug, Default)]
pub struct Received {
    id: Option<HeaderValue>,
    metadata: Option<HeaderValue>,
}

impl Received {
    /// Takes both headers out of a message.
    pub fn take(headers: &mut HeaderMap) -> Self {
        Received { id: headers.remove(PEER_METADATA_ID), metadata: headers.remove(PEER_METADATA) }
    }

    /// Whether there was neither.
    pub fn is_empty(&self) -> bool {
        self.id.is_none() && self.metadata.is_none()
    }

    /// The workload that sent it; `None` when nothing was sent that can be read.
    pub fn workload(&self) -> Option<Arc<Workload>> {
        let metadata = self.metadata.as_ref()?;
        let Some(id) = &self.id else { return decode(metadata).map(Arc::new) };
        PEERS.with_borrow_mut(|peers| {
            if let Some((_, workload)) = peers.get(id).filter(|(known, _)| known == metadata) {
                return Some(Arc::clone(workload));
            }
            let workload = Arc::new(decode(metadata)?);
            if peers.len() >= CACHED_PEERS {
                peers.clear();
            }
            if let (Some(id), Some(metadata)) = (own_copy(id), own_copy(metadata)) {
                peers.insert(id, (metadata, Arc::clone(&workload)));
            }
            Some(workload)
        })
    }

    /// Adds to an answer those of our own headers whose counterpart the request carried.
    pub fn answer(&self, own: &PeerMetadata, headers: &mut HeaderMap) {
        if self.id.is_some() {
            headers.insert(PEER_METADATA_ID, own.id.clone());
        }
        if self.metadata.is_some() {
            headers.insert(PEER_METADATA, own.metadata.clone());
        }
    }
}

/// A value apart from the buffer of the message it came in; `None` for what is too long to be remembered.
fn own_copy(value: &HeaderValue) -> Option<HeaderValue> {
    const LONGEST: usize = 4 * 1024;
    HeaderValue::from_bytes(value.as_bytes()).ok().filter(|value| value.len() <= LONGEST)
}

/// Adds both of our headers to a request.
pub fn introduce(own: &PeerMetadata, headers: &mut HeaderMap) {
    headers.insert(PEER_METADATA_ID, own.id.clone());
    headers.insert(PEER_METADATA, own.metadata.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> PeerMetadata {
        // A Struct with one field, NAMESPACE = "shop".
        let metadata = HeaderValue::from_static("ChMKCU5BTUVTUEFDRRIGGgRzaG9w");
        PeerMetadata { id: HeaderValue::from_static("sidecar~10.0.0.7~a.shop~shop.svc.cluster.local"), metadata }
    }

    #[test]
    fn metadata_is_taken_out_and_decoded_once_per_peer() {
        let read = || {
            let mut headers = HeaderMap::new();
            introduce(&own(), &mut headers);
            let received = Received::take(&mut headers);
            assert!(headers.is_empty() && !received.is_empty());
            received.workload()
        };
        let (first, second) = (read(), read());
        assert_eq!(first.as_ref().map(|workload| workload.namespace.as_str()), Some("shop"));
        assert!(first.zip(second).is_some_and(|(first, second)| Arc::ptr_eq(&first, &second)));
    }

    #[test]
    fn an_answer_carries_only_what_was_asked_for() {
        let mut headers = HeaderMap::new();
        Received::default().answer(&own(), &mut headers);
        assert!(headers.is_empty());
        Received { id: Some(HeaderValue::from_static("x")), metadata: None }.answer(&own(), &mut headers);
        assert!(headers.contains_key(PEER_METADATA_ID) && !headers.contains_key(PEER_METADATA));
    }
}
