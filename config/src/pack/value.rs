//! Packing of the types that fields have. Numbers with a sign are folded so that small ones stay short: 0, -1, 1, -2 ...

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Pack, Packer, Unpacker};
use crate::api::kubernetes::{Quantity, Timestamp};
use crate::api::virtual_service::StringMatch;
use crate::decode::{Bytes, IntOrString, Json};
use crate::string_map::StringMap;

impl Pack for String {
    fn pack(&self, out: &mut Packer) {
        out.string(self);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        input.string().map(str::to_owned)
    }
}

impl Pack for Box<str> {
    fn pack(&self, out: &mut Packer) {
        out.string(self);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        input.string().map(Box::from)
    }
}

impl Pack for bool {
    fn pack(&self, out: &mut Packer) {
        out.number(u64::from(*self));
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        input.number().map(|number| number != 0)
    }
}

macro_rules! unsigned {
    ($($ty:ty)*) => {$(
        impl Pack for $ty {
            fn pack(&self, out: &mut Packer) {
                out.number(u64::from(*self));
            }

            fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
                <$ty>::try_from(input.number()?).ok()
            }
        }
    )*};
}
unsigned!(u16 u32 u64);

macro_rules! signed {
    ($($ty:ty)*) => {$(
        impl Pack for $ty {
            fn pack(&self, out: &mut Packer) {
                let wide = i64::from(*self);
                out.number((wide << 1 ^ wide >> 63).cast_unsigned());
            }

            fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
                let folded = input.number()?;
                <$ty>::try_from((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed()).ok()
            }
        }
    )*};
}
signed!(i32 i64);

impl Pack for f64 {
    fn pack(&self, out: &mut Packer) {
        out.number(self.to_bits());
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        input.number().map(f64::from_bits)
    }
}

impl<T: Pack> Pack for Option<T> {
    fn pack(&self, out: &mut Packer) {
        out.number(u64::from(self.is_some()));
        if let Some(value) = self {
            value.pack(out);
        }
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        match input.number()? {
            0 => Some(None),
            _ => T::unpack(input).map(Some),
        }
    }
}

impl<T: Pack> Pack for Box<T> {
    fn pack(&self, out: &mut Packer) {
        T::pack(self, out);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        T::unpack(input).map(Box::new)
    }
}

impl<T: Pack> Pack for Vec<T> {
    fn pack(&self, out: &mut Packer) {
        out.length(self.len());
        self.iter().for_each(|item| item.pack(out));
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        (0..input.length()?).map(|_| T::unpack(input)).collect()
    }
}

impl<A: Pack, B: Pack> Pack for (A, B) {
    fn pack(&self, out: &mut Packer) {
        self.0.pack(out);
        self.1.pack(out);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        Some((A::unpack(input)?, B::unpack(input)?))
    }
}

impl<T: Pack> Pack for StringMap<T> {
    fn pack(&self, out: &mut Packer) {
        out.length(self.len());
        for (name, value) in self {
            name.pack(out);
            value.pack(out);
        }
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        Vec::unpack(input).map(StringMap::from_iter)
    }
}

impl<T: Pack> Pack for BTreeMap<u32, T> {
    fn pack(&self, out: &mut Packer) {
        out.length(self.len());
        for (number, value) in self {
            number.pack(out);
            value.pack(out);
        }
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        Vec::unpack(input).map(BTreeMap::from_iter)
    }
}

impl Pack for Duration {
    fn pack(&self, out: &mut Packer) {
        (self.as_secs(), self.subsec_nanos()).pack(out);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        <(u64, u32)>::unpack(input).map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
    }
}

impl Pack for Bytes {
    fn pack(&self, out: &mut Packer) {
        out.bytes(&self.0);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        input.bytes().map(|bytes| Bytes(bytes.to_owned()))
    }
}

impl Pack for IntOrString {
    fn pack(&self, out: &mut Packer) {
        match self {
            IntOrString::Int(number) => (false, *number).pack(out),
            IntOrString::String(text) => {
                true.pack(out);
                text.pack(out);
            }
        }
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        match bool::unpack(input)? {
            false => i32::unpack(input).map(IntOrString::Int),
            true => String::unpack(input).map(IntOrString::String),
        }
    }
}

/// As text: it is rare, and JSON has a writer and a reader already.
impl Pack for Json {
    fn pack(&self, out: &mut Packer) {
        out.string(&self.0.to_string());
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        serde_json::from_str(input.string()?).ok().map(Json)
    }
}

impl Pack for StringMatch {
    fn pack(&self, out: &mut Packer) {
        let (number, text) = match self {
            StringMatch::Present => (0, ""),
            StringMatch::Exact(text) => (1, text.as_str()),
            StringMatch::Prefix(text) => (2, text.as_str()),
            StringMatch::Regex(text) => (3, text.as_str()),
        };
        out.number(number);
        out.string(text);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        let (number, text) = <(u16, String)>::unpack(input)?;
        match number {
            0 => Some(StringMatch::Present),
            1 => Some(StringMatch::Exact(text)),
            2 => Some(StringMatch::Prefix(text)),
            3 => Some(StringMatch::Regex(text)),
            _ => None,
        }
    }
}

impl Pack for Quantity {
    fn pack(&self, out: &mut Packer) {
        self.0.pack(out);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        String::unpack(input).map(Quantity)
    }
}

impl Pack for Timestamp {
    fn pack(&self, out: &mut Packer) {
        self.0.pack(out);
    }

    fn unpack(input: &mut Unpacker<'_>) -> Option<Self> {
        i64::unpack(input).map(Timestamp)
    }
}
