//! Packing of whole objects. The identity is not written: it follows from kind and metadata.

use std::sync::Arc;

use super::{Pack, Packer, Unpacker};
use crate::object::{Body, Kind, Object, ObjectId, ObjectMeta, PositionCache, Source};
use crate::yaml::Position;

impl Pack for Object {
    fn pack(&self, out: &mut Packer) {
        self.id.kind.pack(out);
        out.string(&self.api_version);
        self.meta.pack(out);
        self.body.pack(out);
        out.file(&self.file);
        out.text(&self.source.text);
        self.source.first_line.pack(out);
        self.source.path.pack(out);
        self.positions.known().pack(out);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        let kind = Kind::unpack(input)?;
        let api_version = Box::unpack(input)?;
        let meta = ObjectMeta::unpack(input)?;
        let body = body(kind, input)?;
        let file = input.file()?;
        let source = Source { text: input.text()?, first_line: Pack::unpack(input)?, path: Pack::unpack(input)? };
        let positions = PositionCache::of(Pack::unpack(input)?);
        Some(Object { id: ObjectId::of(kind, &meta)?, api_version, meta, body, file, source, positions })
    }
}

impl Pack for Kind {
    fn pack(&self, out: &mut Packer) {
        out.number(*self as u64);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        Kind::ALL.get(input.length()?).copied()
    }
}

impl Pack for Position {
    fn pack(&self, out: &mut Packer) {
        (self.line, self.column).pack(out);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        <(u32, u32)>::unpack(input).map(|(line, column)| Position { line, column })
    }
}

macro_rules! bodies {
    ($($variant:ident)*) => {
        impl Body {
            fn pack(&self, out: &mut Packer) {
                match self {
                    $( Body::$variant(body) => body.pack(out), )*
                    Body::Unread => {}
                }
            }
        }

        /// Kinds and bodies have the same names; a kind that is not listed has no body.
        fn body(kind: Kind, input: &mut Unpacker<'_>) -> Option<Body> {
            match kind {
                $( Kind::$variant => Pack::unpack(input).map(|body| Body::$variant(Arc::new(body))), )*
                _ => Some(Body::Unread),
            }
        }
    };
}

bodies! {
    VirtualService DestinationRule Gateway ServiceEntry WorkloadEntry PeerAuthentication ProxyConfig
    Namespace Pod Deployment StatefulSet DaemonSet ReplicaSet Job Service EndpointSlice ServiceAccount Secret ConfigMap
}
