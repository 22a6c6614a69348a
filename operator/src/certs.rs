//! The operator's own certificates: a CA for five years, a leaf for a day.
//!
//! The pure part: what the Secret must hold at a given time, from what it
//! holds now. Reading and writing the Secret is `store`, serving the leaf is
//! `serve`. No other certificate of the cluster is looked at, and no private
//! key ever has a `Debug`.
//!
//! A CA is replaced in two steps, because sidecars learn of a new one over the
//! session: a year before its end a successor is added to the trusted bundle,
//! half a year before its end the successor signs.

mod issue;
mod parse;
pub mod serve;
pub mod store;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

pub use parse::CertFacts;

/// The Secret in the operator's namespace.
pub const SECRET: &str = "llmroute-certs";

/// Trusted CA certificates, PEM, the signing one first: what sidecars get.
pub const CA_CERT: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const NEXT_CA_KEY: &str = "next-ca.key";
const LEAF_CERT: &str = "tls.crt";
const LEAF_KEY: &str = "tls.key";

const DAY: SignedDuration = SignedDuration::from_hours(24);
const CA_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365 * 5);
const LEAF_LIFE: SignedDuration = DAY;
/// Half its life: half a day of API outage is then survived with room.
const LEAF_RENEWED_AT: SignedDuration = SignedDuration::from_hours(12);
const SUCCESSOR_AT: SignedDuration = SignedDuration::from_hours(24 * 365);
const SUCCESSOR_SIGNS_AT: SignedDuration = SignedDuration::from_hours(24 * 182);
/// Certificates begin in the past, for peers whose clocks are behind.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// The Secret's data, by key. It holds private keys, so it has no `Debug`.
pub type Data = BTreeMap<String, Vec<u8>>;

/// Certificates and keys that belong together and can be served.
#[derive(Clone)]
pub struct Material {
    trusted: Vec<CertFacts>,
    signer_key: String,
    successor_key: Option<String>,
    leaf: CertFacts,
    leaf_key: String,
}

/// What had to be done to the material.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// There was none that could be read: sidecars must learn the new CA.
    NewCa,
    /// A successor of the CA is trusted from now on.
    SuccessorAdded,
    /// The successor signs from now on.
    SuccessorSigns,
    /// A new leaf under the same CA.
    NewLeaf,
}

/// Why the data of the Secret can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertError {
    /// A key of the Secret isn't there.
    #[error("the Secret has no {0}")]
    Missing(&'static str),
    /// A certificate that is none.
    #[error("{0} is not a PEM certificate")]
    NotACertificate(&'static str),
    /// A private key that is none, or of another certificate.
    #[error("{0} is not the key of its certificate")]
    WrongKey(&'static str),
    /// The cryptography library refused to make a certificate.
    #[error("can't issue a certificate: {0}")]
    Issue(String),
}

// ---------------------------------------------------------------- impl Material

impl Material {
    /// Reads what the Secret holds.
    pub fn read(data: &Data) -> Result<Self, CertError> {
        let material = Self {
            trusted: parse::certificates(data, CA_CERT)?,
            signer_key: parse::text(data, CA_KEY)?,
            successor_key: parse::text(data, NEXT_CA_KEY).ok(),
            leaf: parse::certificates(data, LEAF_CERT)?.swap_remove(0),
            leaf_key: parse::text(data, LEAF_KEY)?,
        };
        issue::check_key(&material.signer().pem, &material.signer_key, CA_KEY)?;
        issue::check_key(&material.leaf.pem, &material.leaf_key, LEAF_KEY)?;
        Ok(material)
    }

    /// The data that `read` reads again.
    pub fn to_data(&self) -> Data {
        let Self {
            trusted: _,
            signer_key,
            successor_key,
            leaf,
            leaf_key,
        } = self;
        let mut data = Data::new();
        let mut put = |key: &str, value: &str| data.insert(key.to_owned(), value.into());
        put(CA_CERT, &self.trusted_pem());
        put(CA_KEY, signer_key);
        put(LEAF_CERT, &leaf.pem);
        put(LEAF_KEY, leaf_key);
        if let Some(key) = successor_key {
            put(NEXT_CA_KEY, key);
        }
        data
    }

    /// The CA certificates that sidecars trust, PEM.
    pub fn trusted_pem(&self) -> String {
        self.trusted.iter().map(|ca| ca.pem.as_str()).collect()
    }

    /// The served certificate.
    pub fn leaf(&self) -> &CertFacts {
        &self.leaf
    }

    fn signer(&self) -> &CertFacts {
        &self.trusted[0]
    }
}

/// What the Secret must hold at `now`, and why it isn't what it holds; `None`
/// when nothing is to be done. `names` are the leaf's names and addresses.
///
/// Data that can't be read is replaced whole: a CA that nobody can sign with
/// is of no use to anybody.
pub fn renew(
    data: &Data,
    names: &[String],
    now: Timestamp,
) -> Result<Option<(Material, Renewal)>, CertError> {
    let Ok(mut material) = Material::read(data) else {
        return Ok(Some((fresh(names, now)?, Renewal::NewCa)));
    };
    if material.signer().not_after <= now {
        return Ok(Some((fresh(names, now)?, Renewal::NewCa)));
    }
    let left = now.duration_until(material.signer().not_after);
    let renewal = if left < SUCCESSOR_SIGNS_AT && material.successor_key.is_some() {
        succeed(&mut material);
        Renewal::SuccessorSigns
    } else if left < SUCCESSOR_AT && material.successor_key.is_none() {
        let (ca, key) = issue::ca(now)?;
        material.trusted.push(ca);
        material.successor_key = Some(key);
        Renewal::SuccessorAdded
    } else if leaf_is_due(&material, names, now) {
        Renewal::NewLeaf
    } else {
        return Ok(None);
    };
    let (leaf, key) = issue::leaf(material.signer(), &material.signer_key, names, now)?;
    (material.leaf, material.leaf_key) = (leaf, key);
    Ok(Some((material, renewal)))
}

fn fresh(names: &[String], now: Timestamp) -> Result<Material, CertError> {
    let (ca, signer_key) = issue::ca(now)?;
    let (leaf, leaf_key) = issue::leaf(&ca, &signer_key, names, now)?;
    Ok(Material {
        trusted: vec![ca],
        signer_key,
        successor_key: None,
        leaf,
        leaf_key,
    })
}

/// The second CA signs; the first stays trusted until its own end.
fn succeed(material: &mut Material) {
    if material.trusted.len() > 1 {
        material.trusted.swap(0, 1);
    }
    if let Some(key) = material.successor_key.take() {
        material.signer_key = key;
    }
}

fn leaf_is_due(material: &Material, names: &[String], now: Timestamp) -> bool {
    let leaf = &material.leaf;
    let of_another = leaf.issuer != material.signer().subject;
    let early = now < leaf.not_before;
    let late = now.duration_until(leaf.not_after) <= LEAF_LIFE - LEAF_RENEWED_AT;
    let lacks = names.iter().any(|name| !leaf.names.contains(name));
    of_another || early || late || lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["127.0.0.1".into(), "llmroute-session.ns.svc".into()]
    }

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().expect("a time")
    }

    fn made() -> Material {
        let (material, renewal) = renew(&Data::new(), &names(), now())
            .expect("issues")
            .expect("something to do");
        assert_eq!(renewal, Renewal::NewCa);
        material
    }

    fn step(data: &Data, at: Timestamp) -> Option<Renewal> {
        renew(data, &names(), at).expect("issues").map(|(_, r)| r)
    }

    #[test]
    fn a_new_leaf_carries_every_name_and_lives_a_day() {
        let leaf = made().leaf().clone();
        assert_eq!(leaf.names, names().into_iter().collect());
        assert_eq!(now().duration_until(leaf.not_after), LEAF_LIFE);
        assert!(leaf.not_before < now());
    }

    #[test]
    fn the_leaf_is_renewed_at_half_its_life_and_not_before() {
        let data = made().to_data();
        assert_eq!(step(&data, now() + SignedDuration::from_hours(11)), None);
        let due = now() + SignedDuration::from_hours(12);
        assert_eq!(step(&data, due), Some(Renewal::NewLeaf));
    }

    #[test]
    fn a_renewed_leaf_stays_under_the_same_ca() {
        let old = made();
        let later = now() + SignedDuration::from_hours(13);
        let (new, _) = renew(&old.to_data(), &names(), later)
            .expect("issues")
            .expect("due");
        assert_eq!(old.trusted_pem(), new.trusted_pem());
        assert_ne!(old.leaf().pem, new.leaf().pem);
        assert_eq!(step(&new.to_data(), later), None);
    }

    #[test]
    fn a_name_that_the_leaf_lacks_makes_a_new_leaf() {
        let data = made().to_data();
        let more = [names(), vec!["other.test".into()]].concat();
        let (new, renewal) = renew(&data, &more, now()).expect("issues").expect("due");
        assert_eq!(renewal, Renewal::NewLeaf);
        assert!(new.leaf().names.contains("other.test"));
    }

    #[test]
    fn a_clock_set_back_makes_a_leaf_that_is_valid_now() {
        let data = made().to_data();
        let before = now() - SignedDuration::from_hours(3);
        assert_eq!(step(&data, before), Some(Renewal::NewLeaf));
    }

    #[test]
    fn a_ca_is_succeeded_in_two_steps_and_trusted_all_the_while() {
        let first = made();
        let year_left = now() + CA_LIFE - SUCCESSOR_AT + DAY;
        let (second, renewal) = renew(&first.to_data(), &names(), year_left)
            .expect("issues")
            .expect("due");
        assert_eq!(renewal, Renewal::SuccessorAdded);
        assert_eq!(second.leaf().issuer, first.signer().subject);
        assert!(second.trusted_pem().starts_with(&first.trusted_pem()));
        assert_eq!(step(&second.to_data(), year_left), None);

        let half_left = now() + CA_LIFE - SUCCESSOR_SIGNS_AT + DAY;
        let (third, renewal) = renew(&second.to_data(), &names(), half_left)
            .expect("issues")
            .expect("due");
        assert_eq!(renewal, Renewal::SuccessorSigns);
        assert_eq!(third.leaf().issuer, second.trusted[1].subject);
        assert!(third.trusted_pem().contains(&first.trusted_pem()));
        assert_eq!(step(&third.to_data(), half_left), None);
    }

    #[test]
    fn what_cannot_be_read_is_replaced_and_what_is_missing_is_named() {
        let mut data = made().to_data();
        data.remove(LEAF_KEY);
        assert_eq!(
            Material::read(&data).err(),
            Some(CertError::Missing(LEAF_KEY))
        );
        assert_eq!(step(&data, now()), Some(Renewal::NewCa));

        let mut data = made().to_data();
        data.insert(LEAF_KEY.into(), made().leaf_key.into());
        assert_eq!(
            Material::read(&data).err(),
            Some(CertError::WrongKey(LEAF_KEY))
        );
    }
}
