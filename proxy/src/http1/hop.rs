//! What the fields of a head say to this hop alone, whichever way it goes (RFC 9112, 6.1 and 9.3).

/// Whether the connection stays, as `Connection` says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Persistence(Option<bool>);

impl Persistence {
    /// Looks at a line. `close` in any of them wins.
    pub fn line(&mut self, value: &[u8]) {
        for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.0 = Some(false);
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.0.get_or_insert(true);
            }
        }
    }

    /// What was said, else what the version means.
    pub fn or(self, default: bool) -> bool {
        self.0.unwrap_or(default)
    }
}

/// How the body is coded, as `Transfer-Encoding` says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coding {
    /// There was such a field.
    pub present: bool,
    /// It is not `chunked`, once: other codings would have to be undone or passed on, and neither is done here.
    pub strange: bool,
}

impl Coding {
    /// Looks at a line.
    pub fn line(&mut self, value: &[u8]) {
        self.strange |= self.present || !value.eq_ignore_ascii_case(b"chunked");
        self.present = true;
    }
}
