//! The injector's own certificate authority: what its Secret holds, what to do with it next, and the leaves it signs. Pure but for random keys.
//!
//! An authority is renewed long before its end, without a moment at which an API server and a replica disagree:
//!
//! 1. a *next* authority is put beside the current one, and `caBundle` names both;
//! 2. once `caBundle` has been seen to do so, and API servers have had [`Times::propagation`] to notice, next becomes current. Replicas
//!    sign their leaves with it; the *previous* certificate, its key thrown away, stays in `caBundle`;
//! 3. after [`Times::leaf`], when no leaf of the previous one can be valid any more, it is dropped.
//!
//! Only the holder of the Lease takes steps, each as one write of the Secret that fails if somebody else wrote meanwhile.

use std::collections::BTreeMap;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::webhook::certificate::{Identity, not_after};

const CURRENT: (&str, &str) = ("ca.crt", "ca.key");
const NEXT: (&str, &str) = ("next-ca.crt", "next-ca.key");
const PREVIOUS: &str = "previous-ca.crt";
const PUBLISHED: &str = "outrigger.io/next-ca-published";
const REPLACED: &str = "outrigger.io/previous-ca-replaced";

/// Clocks of nodes may differ by this much.
const BACKDATED: Duration = Duration::minutes(2);

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// An authority. Default 365 days.
    pub authority: Duration,
    /// Before its end, when the next one is made. Default 60 days.
    pub renew_before: Duration,
    /// How long API servers may take to notice a new `caBundle`. Default 5 minutes.
    pub propagation: Duration,
    /// A serving certificate, renewed after two thirds. Default 24 hours.
    pub leaf: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            authority: Duration::days(365),
            renew_before: Duration::days(60),
            propagation: Duration::minutes(5),
            leaf: Duration::hours(24),
        }
    }
}

impl Times {
    /// How long a replaced authority is trusted: until its last leaf has ended by every node's clock.
    fn trusted(&self) -> Duration {
        self.leaf + BACKDATED.min(self.leaf / 4)
    }
}

/// A certificate authority with its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    certificate: String,
    key: String,
    not_after: OffsetDateTime,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// What the Secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    current: Pair,
    next: Option<(Pair, Option<OffsetDateTime>)>,
    previous: Option<(String, OffsetDateTime)>,
}

/// What the holder of the Lease does about an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this, for the reason given.
    Write(Box<Authority>, &'static str),
    /// Look again then.
    Wait(OffsetDateTime),
}

impl Pair {
    fn new(now: OffsetDateTime, times: &Times) -> Result<Self, String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "outrigger");
        // Two authorities of one name would make verifiers guess which signed.
        params.distinguished_name.push(DnType::CommonName, format!("outrigger-injector-ca {:016x}", rand::random::<u64>()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (now - BACKDATED, now + times.authority);
        let make = || {
            let key = KeyPair::generate()?;
            Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
        };
        let (certificate, key) = make().map_err(|error: rcgen::Error| format!("making a certificate authority: {error}"))?;
        Self::read(certificate, key)
    }

    fn read(certificate: String, key: String) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|error| format!("certificate: {error}"))?;
        let not_after = not_after(&der)?;
        let pair = Self { certificate, key, not_after };
        pair.issuer()?;
        Identity::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes())?;
        Ok(pair)
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, String> {
        let key = KeyPair::from_pem(&self.key).map_err(|error| format!("private key: {error}"))?;
        Issuer::from_ca_cert_pem(&self.certificate, key).map_err(|error| format!("certificate: {error}"))
    }
}

impl Authority {
    /// A first one.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn new(now: OffsetDateTime, times: &Times) -> Result<Self, String> {
        Ok(Self { current: Pair::new(now, times)?, next: None, previous: None })
    }

    /// Reads a Secret; `None` if it holds none of our keys, as a chart makes it.
    ///
    /// # Errors
    /// In words, naming the key: half an authority, or one that cannot be used.
    pub fn read(data: &BTreeMap<String, Vec<u8>>, annotations: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        let Some(current) = read_pair(data, CURRENT)? else { return Ok(None) };
        let next = read_pair(data, NEXT)?.map(|pair| (pair, time(annotations, PUBLISHED)));
        // Without its time it stays for a whole period once more: one in the future counts as now.
        let previous = text(data, PREVIOUS)?
            .map(|certificate| (certificate, time(annotations, REPLACED).unwrap_or(PrimitiveDateTime::MAX.assume_utc())));
        Ok(Some(Self { current, next, previous }))
    }

    /// Writes itself into a Secret's fields; other keys and annotations stay.
    pub fn write(&self, data: &mut BTreeMap<String, Vec<u8>>, annotations: &mut BTreeMap<String, String>) {
        for key in [CURRENT.0, CURRENT.1, NEXT.0, NEXT.1, PREVIOUS] {
            data.remove(key);
        }
        annotations.retain(|name, _| name != PUBLISHED && name != REPLACED);
        let mut pair = |(certificate, key): (&str, &str), pair: &Pair| {
            data.insert(certificate.to_owned(), pair.certificate.clone().into_bytes());
            data.insert(key.to_owned(), pair.key.clone().into_bytes());
        };
        pair(CURRENT, &self.current);
        if let Some((next, published)) = &self.next {
            pair(NEXT, next);
            annotations.extend(published.and_then(written).map(|time| (PUBLISHED.to_owned(), time)));
        }
        if let Some((certificate, replaced)) = &self.previous {
            data.insert(PREVIOUS.to_owned(), certificate.clone().into_bytes());
            annotations.extend(written(*replaced).map(|time| (REPLACED.to_owned(), time)));
        }
    }

    /// All certificates that API servers must trust now.
    #[must_use]
    pub fn bundle(&self) -> String {
        let next = self.next.iter().map(|(pair, _)| pair.certificate.as_str());
        let previous = self.previous.iter().map(|(certificate, _)| certificate.as_str());
        [self.current.certificate.as_str()].into_iter().chain(next).chain(previous).map(|pem| format!("{}\n", pem.trim_end())).collect()
    }

    /// The certificate that leaves are signed with.
    #[must_use]
    pub fn current(&self) -> &str {
        &self.current.certificate
    }

    /// When it ended, if it has by `now`: nothing it signs is valid any more.
    #[must_use]
    pub fn ended(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        Some(self.current.not_after).filter(|end| *end <= now)
    }

    /// What is to be done at `now`. `is_published`: `caBundle` is [`Authority::bundle`] everywhere.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn step(&self, now: OffsetDateTime, times: &Times, is_published: bool) -> Result<Step, String> {
        let write = |authority: Self, why| Ok(Step::Write(Box::new(authority), why));
        // Written by somebody else, or before a clock was set back by far.
        let is_future = |time: OffsetDateTime| time > now.saturating_add(BACKDATED);
        let renewal = self.current.not_after.saturating_sub(times.renew_before);
        if self.ended(now).is_some() {
            let current = Pair::new(now, times)?;
            return write(Self { current, next: None, previous: None }, "the certificate authority had ended; a new one is in force");
        }
        match (&self.next, &self.previous) {
            (Some((next, Some(published))), _) if is_future(*published) => {
                let authority = Self { next: Some((next.clone(), None)), ..self.clone() };
                write(authority, "the next certificate authority was published in the future, which cannot be; it is published anew")
            }
            (None, Some((certificate, replaced))) if is_future(*replaced) => {
                let authority = Self { previous: Some((certificate.clone(), now)), ..self.clone() };
                write(
                    authority,
                    "when the previous certificate authority was replaced is unknown or in the future; it counts as replaced now",
                )
            }
            (Some((_, None)), _) if !is_published => Ok(Step::Wait(now + times.propagation)),
            (Some((next, None)), _) => {
                let authority = Self { next: Some((next.clone(), Some(now))), ..self.clone() };
                write(authority, "caBundle names the next certificate authority too")
            }
            (Some((next, Some(published))), _) if published.saturating_add(times.propagation) <= now => {
                let previous = Some((self.current.certificate.clone(), now));
                write(Self { current: next.clone(), next: None, previous }, "the next certificate authority is in force")
            }
            (Some((_, Some(published))), _) => Ok(Step::Wait(published.saturating_add(times.propagation))),
            (None, Some((_, replaced))) if replaced.saturating_add(times.trusted()) <= now => write(
                Self { previous: None, ..self.clone() },
                "the previous certificate authority is forgotten; nothing it signed is valid any more",
            ),
            (None, Some((_, replaced))) => Ok(Step::Wait(replaced.saturating_add(times.trusted()))),
            (None, None) if renewal <= now => {
                let authority = Self { next: Some((Pair::new(now, times)?, None)), ..self.clone() };
                write(authority, "the certificate authority nears its end; the next one is made")
            }
            (None, None) => Ok(Step::Wait(renewal)),
        }
    }

    /// A serving certificate for these DNS names, never longer valid than the authority itself.
    ///
    /// # Errors
    /// In words: a name that no certificate can hold; an authority that has ended.
    pub fn issue(&self, names: &[String], now: OffsetDateTime, times: &Times) -> Result<Identity, String> {
        let problem = |error: rcgen::Error| format!("serving certificate for {}: {error}", names.join(", "));
        if let Some(end) = self.ended(now) {
            return Err(format!("serving certificate for {}: its certificate authority ended {end}", names.join(", ")));
        }
        let mut params = CertificateParams::new(names).map_err(problem)?;
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (now - BACKDATED, (now + times.leaf).min(self.current.not_after));
        let key = KeyPair::generate().map_err(problem)?;
        let leaf = params.signed_by(&key, &self.current.issuer()?).map_err(problem)?;
        Identity::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes())
    }
}

fn read_pair(data: &BTreeMap<String, Vec<u8>>, keys: (&str, &str)) -> Result<Option<Pair>, String> {
    match (text(data, keys.0)?, text(data, keys.1)?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Pair::read(certificate, key).map(Some).map_err(|problem| format!("keys {} and {}: {problem}", keys.0, keys.1))
        }
        _ => Err(format!("expected both {} and {}, found one", keys.0, keys.1)),
    }
}

fn text(data: &BTreeMap<String, Vec<u8>>, key: &str) -> Result<Option<String>, String> {
    let bytes = data.get(key).filter(|bytes| !bytes.is_empty());
    bytes.map(|bytes| String::from_utf8(bytes.clone()).map_err(|_| format!("key {key}: expected PEM"))).transpose()
}

fn time(annotations: &BTreeMap<String, String>, name: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(annotations.get(name)?, &Rfc3339).ok()
}

fn written(time: OffsetDateTime) -> Option<String> {
    time.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::{Duration, OffsetDateTime};

    use super::{Authority, Step, Times};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::days(20_000));

    fn written(step: Step) -> Authority {
        match step {
            Step::Write(authority, _) => *authority,
            Step::Wait(until) => panic!("expected a write, got a wait until {until}"),
        }
    }

    #[test]
    fn a_renewal_goes_through_both_in_the_bundle_and_waits_for_its_publication() {
        let times = Times::default();
        let first = Authority::new(NOW, &times).unwrap();
        let renewal = NOW + times.authority - times.renew_before;
        assert_eq!(first.step(NOW, &times, true).unwrap(), Step::Wait(renewal));

        let overlapping = written(first.step(renewal, &times, true).unwrap());
        assert_eq!(overlapping.current(), first.current(), "leaves still come from the old one");
        assert_eq!(overlapping.bundle().matches("BEGIN").count(), 2);
        assert!(matches!(overlapping.step(renewal, &times, false).unwrap(), Step::Wait(_)), "not yet in caBundle: no exchange");

        let published = written(overlapping.step(renewal, &times, true).unwrap());
        assert_eq!(published.step(renewal, &times, true).unwrap(), Step::Wait(renewal + times.propagation));
        let exchanged = written(published.step(renewal + times.propagation, &times, true).unwrap());
        assert_ne!(exchanged.current(), first.current());
        assert!(exchanged.bundle().contains(first.current().trim()), "leaves of the old one are still trusted");

        let later = renewal + times.propagation + times.leaf + Duration::hours(1);
        assert!(matches!(exchanged.step(later - Duration::hours(2), &times, true).unwrap(), Step::Wait(_)));
        let settled = written(exchanged.step(later, &times, true).unwrap());
        assert_eq!(settled.bundle().matches("BEGIN").count(), 1);
    }

    #[test]
    fn an_authority_that_ended_while_nobody_ran_is_replaced_at_once() {
        let times = Times::default();
        let first = Authority::new(NOW, &times).unwrap();
        assert!(first.issue(&["x".to_owned()], NOW + times.authority, &times).unwrap_err().contains("ended"), "it signs nothing more");
        let new = written(first.step(NOW + times.authority, &times, false).unwrap());
        assert!(new.step(NOW + times.authority, &times, true).is_ok_and(|step| matches!(step, Step::Wait(_))));
    }

    #[test]
    fn annotations_from_the_future_hold_no_renewal_up_and_overflow_nothing() {
        let times = Times::default();
        let first = Authority::new(NOW, &times).unwrap();
        let now = NOW + times.authority - Duration::days(1);
        let published = written(written(first.step(now, &times, true).unwrap()).step(now, &times, true).unwrap());
        let exchanged = written(published.step(now + times.propagation, &times, true).unwrap());
        let end_of_time = |authority: &Authority| {
            let (mut data, mut annotations) = (BTreeMap::new(), BTreeMap::new());
            authority.write(&mut data, &mut annotations);
            annotations.values_mut().for_each(|time| "9999-12-31T23:59:59Z".clone_into(time));
            Authority::read(&data, &annotations).unwrap().unwrap()
        };
        let again = written(end_of_time(&published).step(now, &times, true).unwrap());
        assert_eq!(written(again.step(now, &times, true).unwrap()), published);
        let again = written(end_of_time(&exchanged).step(now, &times, true).unwrap());
        assert_eq!(again.step(now, &times, true).unwrap(), Step::Wait(now + times.trusted()));

        let (mut data, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        exchanged.write(&mut data, &mut annotations);
        let without_time = Authority::read(&data, &BTreeMap::new()).unwrap().unwrap();
        assert_eq!(written(without_time.step(now, &times, true).unwrap()), again, "it stays for a whole period once more");
    }

    #[test]
    fn a_secret_keeps_every_stage_and_foreign_keys() {
        let times = Times::default();
        let first = Authority::new(NOW, &times).unwrap();
        let overlapping = written(first.step(NOW + times.authority - Duration::days(1), &times, true).unwrap());
        let published = written(overlapping.step(NOW, &times, true).unwrap());
        let exchanged = written(published.step(NOW + Duration::days(1), &times, true).unwrap());
        let (mut data, mut annotations) = (BTreeMap::from([("mine".to_owned(), b"x".to_vec())]), BTreeMap::new());
        for stage in [first, overlapping, published, exchanged] {
            stage.write(&mut data, &mut annotations);
            assert_eq!(Authority::read(&data, &annotations).unwrap().as_ref(), Some(&stage));
        }
        assert_eq!(data["mine"], b"x");
        assert!(!data.contains_key("next-ca.key"), "a key no longer used is thrown away");
    }

    #[test]
    fn half_an_authority_and_a_key_of_another_are_named() {
        let (mut data, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        assert_eq!(Authority::read(&data, &annotations), Ok(None));
        Authority::new(NOW, &Times::default()).unwrap().write(&mut data, &mut annotations);
        let mut halved = data.clone();
        halved.remove("ca.key");
        assert!(Authority::read(&halved, &annotations).unwrap_err().contains("both ca.crt and ca.key"));
        let mut other = BTreeMap::new();
        Authority::new(NOW, &Times::default()).unwrap().write(&mut other, &mut annotations);
        data.insert("ca.key".to_owned(), other["ca.key"].clone());
        assert!(Authority::read(&data, &annotations).unwrap_err().contains("ca.crt and ca.key: "), "a foreign key");
    }
}
