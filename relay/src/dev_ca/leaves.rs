//! The certificates of a development relay: one for its own names, and one for each name below them that is asked for.
//!
//! A wildcard would do for neither: below a single label such as `localhost` clients refuse it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hybridrelay::env::Env;
use hybridrelay::{Error, ErrorKind, Result};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{cannot_make, generate_key, validity};
use crate::node::lock;

/// They are made anew at each start.
const LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How many names are remembered. Who asks for more than a person has hybrid connections gets his certificates made again.
const REMEMBERED: usize = 256;

/// Makes certificates of an authority.
pub(super) struct Leaves {
    env: Env,
    issuer: Issuer<'static, KeyPair>,
    /// The key of all of them.
    key: KeyPair,
    /// The names below which others may be asked for.
    parents: Vec<String>,
    own: Arc<CertifiedKey>,
    others: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Leaves {
    /// With a certificate for `localhost`, the loopback addresses and these names.
    pub(super) fn new(env: Env, issuer: Issuer<'static, KeyPair>, hostnames: &[String]) -> Result<Self> {
        let key = generate_key()?;
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(hostnames.iter().cloned());
        let own = certify(&env, &issuer, &key, names)?;
        let parents = hostnames.iter().map(|name| format!(".{}", name.to_ascii_lowercase()));
        let parents = [".localhost".to_owned()].into_iter().chain(parents).collect();
        Ok(Self { env, issuer, key, parents, own, others: Mutex::default() })
    }

    /// The certificate for a name, in lower case.
    fn leaf(&self, name: &str) -> Result<Arc<CertifiedKey>> {
        if !self.parents.iter().any(|parent| name.ends_with(parent)) {
            return Ok(self.own.clone());
        }
        let mut others = lock(&self.others);
        if let Some(known) = others.get(name) {
            return Ok(known.clone());
        }
        let made = certify(&self.env, &self.issuer, &self.key, vec![name.to_owned()])?;
        if others.len() >= REMEMBERED {
            others.clear();
        }
        others.insert(name.to_owned(), made.clone());
        Ok(made)
    }
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self.leaf(&hello.server_name().unwrap_or_default().to_ascii_lowercase()) {
            Ok(leaf) => Some(leaf),
            Err(error) => {
                tracing::debug!(%error, "a certificate could not be made");
                Some(self.own.clone())
            }
        }
    }
}

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaves").field("parents", &self.parents).finish_non_exhaustive()
    }
}

fn certify(
    env: &Env,
    issuer: &Issuer<'static, KeyPair>,
    key: &KeyPair,
    names: Vec<String>,
) -> Result<Arc<CertifiedKey>> {
    let mut params = CertificateParams::new(names).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, "a host name is not usable").with_reason(error.to_string())
    })?;
    params.distinguished_name.push(DnType::CommonName, "hybridrelay development relay");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = validity(env, LIFE);
    let leaf = params.signed_by(key, issuer).map_err(cannot_make)?;
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = any_ecdsa_type(&key)
        .map_err(|error| Error::new(ErrorKind::Internal, "the certificate cannot be used").with_source(error))?;
    Ok(Arc::new(CertifiedKey::new(vec![leaf.der().clone()], key)))
}
