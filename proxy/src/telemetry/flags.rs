//! Response flags: short codes that say what went wrong (sidecar contract 7.3).

use std::fmt;

/// A set of response flags.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ResponseFlags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl ResponseFlags {
            $($(#[$doc])* pub const $name: ResponseFlags = ResponseFlags(1 << $bit);)*
            const ALL: &'static [(ResponseFlags, &'static str)] = &[$((ResponseFlags::$name, stringify!($name)),)*];
        }
    };
}

flags! {
    /// No usable endpoint.
    UH = 0;
    /// Connect or TLS handshake failed.
    UF = 1;
    /// Circuit breaker.
    UO = 2;
    /// No route, or no filter chain.
    NR = 3;
    /// The route names an unknown cluster.
    NC = 4;
    /// Retries, or connect attempts, used up.
    URX = 5;
    /// Upstream request timeout.
    UT = 6;
    /// Upstream closed in mid-request.
    UC = 7;
    /// Upstream reset the stream.
    UR = 8;
    /// This proxy reset the upstream stream.
    LR = 9;
    /// The client went away.
    DC = 10;
    /// The client reset the stream.
    DR = 11;
    /// Maximum duration reached.
    DT = 12;
    /// Stream idle timeout.
    SI = 13;
    /// Delay injected.
    DI = 14;
    /// Fault injected.
    FI = 15;
    /// Downstream protocol error.
    DPE = 16;
    /// Upstream protocol error.
    UPE = 17;
    /// Strict header check failed.
    IH = 18;
    /// External authorisation denied or failed.
    UAEX = 19;
    /// Rate limited.
    RL = 20;
    /// Overload.
    OM = 21;
    /// DNS resolution failed.
    DF = 22;
    /// Maximum upstream stream duration reached.
    UMSDR = 23;
}

impl ResponseFlags {
    /// No flag.
    pub const NONE: ResponseFlags = ResponseFlags(0);

    /// Adds the flags of `other`.
    pub fn insert(&mut self, other: ResponseFlags) {
        self.0 |= other.0;
    }

    /// Whether every flag of `other` is set.
    pub fn contains(self, other: ResponseFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let mut separator = "";
        for (_, name) in Self::ALL.iter().filter(|(flag, _)| self.contains(*flag)) {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
