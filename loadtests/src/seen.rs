//! What an exchange looks for in an answer, and what it found. One [`Seen`] is used for all requests of a worker, so
//! that a request that finds what the one before found allocates nothing.

use std::{borrow::Cow, collections::BTreeMap};

use http::HeaderMap;
use regex_automata::meta::Regex;

use crate::plan::{Plan, Property};

/// How much of a body is kept to be looked at with a pattern, or to be reported.
const KEPT_BODY: usize = 64 * 1024;
/// How much is kept otherwise: a line `POD:VERSION`, with names as long as Kubernetes allows.
const KEPT_LINE: usize = 320;

const POD: usize = 0;
const VERSION: usize = 1;
const GRPC_STATUS: usize = 2;
const FIXED: [&str; 3] = ["x-pod", "x-version", "grpc-status"];

/// Where a property to count is found.
#[derive(Debug)]
enum Source {
    /// In the header with this place in [`Wants::names`].
    Header(usize, Option<Box<Regex>>),
    Body(Box<Regex>),
}

/// What to look for.
#[derive(Debug)]
pub(crate) struct Wants {
    /// Header names in lower case, [`FIXED`] first.
    names: Vec<String>,
    sources: Vec<Source>,
    all_headers: bool,
    body: usize,
}

/// One header looked for.
#[derive(Debug, Default)]
struct Noted {
    present: bool,
    value: Vec<u8>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The status, once response headers arrived.
    pub(crate) status: Option<u16>,
    /// Bytes of the request written, and of the answer read. With HTTP/2 and gRPC, of whole frames.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    noted: Vec<Noted>,
    headers: Vec<(String, Vec<u8>)>,
    /// Its beginning, as much as wanted.
    body: Vec<u8>,
    /// Its whole length.
    pub(crate) body_length: u64,
}

impl Wants {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut names: Vec<String> = FIXED.iter().map(|name| (*name).to_owned()).collect();
        let mut sources = Vec::new();
        for by in &plan.count_by {
            sources.push(match &by.property {
                Property::Header(name, pattern) => {
                    names.push(name.as_str().to_owned());
                    Source::Header(names.len() - 1, pattern.clone())
                }
                Property::Body(pattern) => Source::Body(pattern.clone()),
            });
        }
        let looks = plan.keep_bodies || sources.iter().any(|source| matches!(source, Source::Body(_)));
        Self { names, sources, all_headers: plan.keep_headers, body: if looks { KEPT_BODY } else { KEPT_LINE } }
    }

    /// An empty result for this.
    pub(crate) fn seen(&self) -> Seen {
        Seen { noted: self.names.iter().map(|_| Noted::default()).collect(), ..Seen::default() }
    }

    /// Looks at a header, or at a trailer that may be one.
    pub(crate) fn field(&self, seen: &mut Seen, name: &str, value: &[u8]) {
        for (wanted, noted) in self.names.iter().zip(&mut seen.noted) {
            if wanted.len() == name.len() && wanted.eq_ignore_ascii_case(name) {
                if noted.present {
                    noted.value.push(b',');
                }
                noted.present = true;
                noted.value.extend_from_slice(value);
            }
        }
        if self.all_headers {
            seen.headers.push((name.to_ascii_lowercase(), value.to_vec()));
        }
    }

    /// Looks at all of an answer's headers.
    pub(crate) fn fields(&self, seen: &mut Seen, headers: &HeaderMap) {
        headers.iter().for_each(|(name, value)| self.field(seen, name.as_str(), value.as_bytes()));
    }

    /// Forgets what the fields of an interim head said.
    pub(crate) fn forget_fields(&self, seen: &mut Seen) {
        for noted in &mut seen.noted {
            noted.present = false;
            noted.value.clear();
        }
        seen.headers.clear();
    }

    /// Looks at a piece of the body.
    pub(crate) fn body(&self, seen: &mut Seen, piece: &[u8]) {
        seen.body_length += piece.len() as u64;
        seen.received += piece.len() as u64;
        let room = self.body.saturating_sub(seen.body.len()).min(piece.len());
        seen.body.extend_from_slice(piece.get(..room).unwrap_or_default());
    }

    /// The value of a property to count, by its place in the plan.
    pub(crate) fn value<'a>(&self, seen: &'a Seen, property: usize) -> Option<&'a [u8]> {
        match self.sources.get(property)? {
            Source::Header(index, pattern) => {
                let value = seen.note(*index)?;
                pattern.as_ref().map_or(Some(value), |pattern| found(pattern, value))
            }
            Source::Body(pattern) => found(pattern, &seen.body),
        }
    }
}

impl Seen {
    /// Ready for the next request.
    pub(crate) fn clear(&mut self, wants: &Wants) {
        wants.forget_fields(self);
        (self.status, self.sent, self.received, self.body_length) = (None, 0, 0, 0);
        self.body.clear();
    }

    fn note(&self, index: usize) -> Option<&[u8]> {
        self.noted.get(index).filter(|noted| noted.present).map(|noted| noted.value.as_slice())
    }

    /// Pod and version: headers `x-pod` and `x-version`, else a body that is one line `POD:VERSION`; what is not known is
    /// empty.
    pub(crate) fn who(&self) -> (&[u8], &[u8]) {
        let line = if self.body_length == self.body.len() as u64 { signature(&self.body) } else { None };
        let (pod, version) = line.unwrap_or_default();
        (self.note(POD).unwrap_or(pod), self.note(VERSION).unwrap_or(version))
    }

    /// `grpc-status`, from headers or trailers.
    pub(crate) fn grpc_status(&self) -> Option<Cow<'_, str>> {
        self.note(GRPC_STATUS).map(String::from_utf8_lossy)
    }

    /// All headers, if they were wanted, repeated ones joined by a comma.
    pub(crate) fn headers(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, value) in &self.headers {
            let joined: &mut String = all.entry(name.clone()).or_default();
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(&String::from_utf8_lossy(value));
        }
        all
    }

    /// The body's kept beginning.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Pod and version of a body that consists of one line `POD:VERSION`.
fn signature(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = body.trim_ascii_end();
    let colon = line.iter().position(|byte| !plain(*byte)).filter(|place| line.get(*place) == Some(&b':'))?;
    let (pod, version) = (line.get(..colon)?, line.get(colon + 1..)?);
    (!pod.is_empty() && !version.is_empty() && version.iter().all(|byte| plain(*byte))).then_some((pod, version))
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

/// The pattern's first group, or its whole match when it has none.
fn found<'a>(pattern: &Regex, text: &'a [u8]) -> Option<&'a [u8]> {
    let mut captures = pattern.create_captures();
    pattern.captures(text, &mut captures);
    let span = captures.get_group(1).or_else(|| captures.get_group(0))?;
    text.get(span.range())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(plan: &Plan, body: &[u8]) -> (Wants, Seen) {
        let wants = Wants::new(plan);
        let mut seen = wants.seen();
        wants.body(&mut seen, body);
        (wants, seen)
    }

    fn counting(properties: &[&str]) -> anyhow::Result<Plan> {
        let count_by = properties.iter().map(|text| text.parse()).collect::<anyhow::Result<_>>()?;
        Ok(Plan { count_by, ..Plan::new("http://a", 1) })
    }

    #[test]
    fn a_body_of_one_line_names_pod_and_version_and_other_bodies_do_not() {
        let plan = Plan::new("http://a", 1);
        assert_eq!(seen(&plan, b"web-1:v2\n").1.who(), (&b"web-1"[..], &b"v2"[..]));
        for body in [&b"no healthy upstream"[..], b"{\"a\":1}", b"a:", b":v1", b"\xff:v1", &[b'a'; 1000]] {
            assert_eq!(seen(&plan, body).1.who(), (&b""[..], &b""[..]), "{body:?}");
        }
    }

    #[test]
    fn headers_name_them_before_the_body_does() {
        let (wants, mut seen) = seen(&Plan::new("http://a", 1), b"web-1:v2");
        wants.field(&mut seen, "X-Version", b"v3");
        assert_eq!(seen.who(), (&b"web-1"[..], &b"v3"[..]));
    }

    #[test]
    fn a_pattern_finds_its_first_group_or_the_whole_match() -> anyhow::Result<()> {
        let plan = counting(&["body:id=([0-9])", "body:id=[0-9]", "body:nothing", "header:x-a~[0-9]+", "header:x-b"])?;
        let (wants, mut seen) = seen(&plan, b"id=7;x");
        wants.field(&mut seen, "x-a", b"web-12");
        let value = |property| wants.value(&seen, property);
        assert_eq!((value(0), value(1), value(2)), (Some(&b"7"[..]), Some(&b"id=7"[..]), None));
        assert_eq!((value(3), value(4)), (Some(&b"12"[..]), None));
        Ok(())
    }

    #[test]
    fn repeated_headers_are_joined_and_nothing_stays_for_the_next_answer() -> anyhow::Result<()> {
        let plan = Plan { keep_headers: true, ..counting(&["header:x-a"])? };
        let (wants, mut seen) = seen(&plan, b"a:b");
        wants.field(&mut seen, "X-A", b"1");
        wants.field(&mut seen, "x-a", b"2");
        assert_eq!(wants.value(&seen, 0), Some(&b"1,2"[..]));
        assert_eq!(seen.headers().get("x-a").map(String::as_str), Some("1,2"));
        seen.clear(&wants);
        assert_eq!((wants.value(&seen, 0), seen.who(), seen.headers().len()), (None, (&b""[..], &b""[..]), 0));
        Ok(())
    }
}
