//! Canonical names of gRPC statuses, as `grpcStatus` in a fault names them.

/// The names, each at the position of its code (gRPC's status code document).
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The code of a canonical name; names are case-sensitive.
pub fn code(name: &str) -> Option<u8> {
    NAMES.iter().position(|known| *known == name).and_then(|position| u8::try_from(position).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_its_code() {
        assert_eq!((code("OK"), code("UNAVAILABLE"), code("UNAUTHENTICATED")), (Some(0), Some(14), Some(16)));
        assert_eq!((code("unavailable"), code("14")), (None, None));
    }
}
