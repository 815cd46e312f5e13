//! The macros that declare API types once and derive reading from the declaration.

/// The name of a field in documents: the literal when one is given, else the Rust name (compared in lowerCamelCase).
macro_rules! field_name {
    ($field:ident $key:literal) => {
        $key
    };
    ($field:ident) => {
        stringify!($field)
    };
}

/// Declares a struct of the API with its [`Decode`](crate::decode::Decode) and [`Pack`](crate::pack::Pack).
///
/// `pub field: Type = "key"` gives a key that the Rust name does not spell. `oneof [a, b]` lists fields of which at most one
/// may be set. `also ["x"]` lists fields the API has and this program does not use, so that they are not called unknown.
macro_rules! api_struct {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty $(= $key:literal)? ),* $(,)?
        }
        $( oneof [ $($exclusive:literal),* $(,)? ] )*
        $( also [ $($known:literal),* $(,)? ] )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl $crate::decode::Decode for $name {
            fn decode(
                node: &$crate::yaml::Node,
                path: &$crate::decode::Path<'_>,
                cx: &mut $crate::decode::Decoder,
            ) -> Self {
                const FIELDS: &[&str] = &[$( $crate::decode::field_name!($field $($key)?) ),*];
                const KNOWN: &[&str] = &[$( $($known),* )?];
                let Some(fields) = cx.fields(node, path, FIELDS, KNOWN) else {
                    return Self::default();
                };
                $( cx.exclusive(node, path, &[$($exclusive),*]); )*
                let _ = &fields;
                Self {
                    $( $field: fields.get($crate::decode::field_name!($field $($key)?), path, cx), )*
                }
            }
        }

        /// Each field that is set follows its number; 0 ends them.
        #[allow(unused_mut, unused_variables, reason = "of some kinds no field is read")]
        impl $crate::pack::Pack for $name {
            fn pack(&self, out: &mut $crate::pack::Packer) {
                let unset = Self::default();
                let mut number = 0;
                $(
                    number += 1;
                    if self.$field != unset.$field {
                        out.number(number);
                        $crate::pack::Pack::pack(&self.$field, out);
                    }
                )*
                out.number(0);
            }

            fn unpack(input: &mut $crate::pack::Unpacker<'_>) -> Option<Self> {
                let mut value = Self::default();
                let mut set = input.number()?;
                let mut number = 0;
                $(
                    number += 1;
                    if set == number {
                        value.$field = $crate::pack::Pack::unpack(input)?;
                        set = input.number()?;
                    }
                )*
                (set == 0).then_some(value)
            }
        }
    };
}

/// Declares an enum of the API, whose values are written as upper-case (Istio) or capitalised (Kubernetes) words.
macro_rules! api_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )*
        }

        impl $name {
            /// The value as written in documents.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( $name::$variant => $text, )*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl $crate::decode::Decode for $name {
            fn decode(
                node: &$crate::yaml::Node,
                path: &$crate::decode::Path<'_>,
                cx: &mut $crate::decode::Decoder,
            ) -> Self {
                match node.as_str() {
                    $( Some($text) => $name::$variant, )*
                    _ => {
                        let expected = concat!("one of" $(, " ", $text)*);
                        cx.mismatch(node, path, expected);
                        Self::default()
                    }
                }
            }
        }

        impl $crate::pack::Pack for $name {
            fn pack(&self, out: &mut $crate::pack::Packer) {
                out.number(*self as u64);
            }

            fn unpack(input: &mut $crate::pack::Unpacker<'_>) -> Option<Self> {
                const VALUES: &[$name] = &[$( $name::$variant ),*];
                VALUES.get(input.length()?).copied()
            }
        }
    };
}

pub(crate) use {api_enum, api_struct, field_name};
