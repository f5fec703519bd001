//! A certificate authority for development: good for this machine's own names and for nothing else.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hybridrelay::env::Env;
use hybridrelay::{Error, ErrorKind, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use time::OffsetDateTime;

use crate::tls;

mod leaves;

use leaves::Leaves;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The authority lives ten years; clients are told to trust it once.
const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

const CA_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";
/// The host names that the authority may vouch for, one in a line.
const NAMES_FILE: &str = "ca.names";

/// A local authority and a certificate of it for `localhost`, loopback addresses and the given names. Names below these, such as
/// `web.localhost`, get certificates of their own when they are first asked for.
///
/// The authority is name-constrained: trusting it trusts nobody else's names.
pub struct DevCa {
    ca_pem: String,
    ca_file: Option<PathBuf>,
    replaced: bool,
    server_config: Arc<ServerConfig>,
}

impl DevCa {
    /// Takes the authority in `directory`, or makes it there (directory 0700, files 0600), and makes a certificate for 90 days.
    ///
    /// An authority that may not vouch for one of `hostnames` is replaced by one that may; see [`was_replaced`](Self::was_replaced).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the file or host name that is not usable.
    pub fn load_or_create(env: &Env, directory: &Path, hostnames: &[String]) -> Result<Self> {
        create_private_directory(directory).map_err(|error| unusable(directory, error))?;
        let (ca_file, key_file) = (directory.join(CA_FILE), directory.join(KEY_FILE));
        let names_file = directory.join(NAMES_FILE);
        let mut replaced = false;
        let authority = match (read(&ca_file)?, read(&key_file)?) {
            (Some(certificate), Some(key)) => {
                let known = read(&names_file)?.unwrap_or_default();
                let covered = hostnames.iter().all(|name| known.lines().any(|line| line.eq_ignore_ascii_case(name)));
                replaced = !covered;
                covered.then_some(Authority { certificate, key })
            }
            _ => None,
        };
        let authority = match authority {
            Some(authority) => authority,
            None => {
                let authority = Authority::create(env, hostnames)?;
                write_private(&key_file, &authority.key)?;
                write_private(&names_file, &hostnames.join("\n"))?;
                write_private(&ca_file, &authority.certificate)?;
                authority
            }
        };
        let server_config = authority.certify(env, hostnames)?;
        Ok(Self { ca_pem: authority.certificate, ca_file: Some(ca_file), replaced, server_config })
    }

    /// An authority that exists only in memory.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a host name that is none.
    pub fn ephemeral(env: &Env, hostnames: &[String]) -> Result<Self> {
        let authority = Authority::create(env, hostnames)?;
        let server_config = authority.certify(env, hostnames)?;
        Ok(Self { ca_pem: authority.certificate, ca_file: None, replaced: false, server_config })
    }

    /// The authority's certificate: what clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Where the certificate lies; `None` for an authority in memory.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Whether an older authority had to be replaced: clients must trust the new one.
    pub fn was_replaced(&self) -> bool {
        self.replaced
    }

    /// The TLS configuration with the certificate for today.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server_config.clone()
    }
}

/// The authority as text.
struct Authority {
    certificate: String,
    key: String,
}

impl Authority {
    fn create(env: &Env, hostnames: &[String]) -> Result<Self> {
        let mut permitted = vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16]), 128)),
        ];
        permitted.extend(hostnames.iter().map(|name| match name.parse::<IpAddr>() {
            Ok(address) => GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
                address,
                if address.is_ipv4() { 32 } else { 128 },
            )),
            Err(_) => GeneralSubtree::DnsName(name.clone()),
        }));
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "hybridrelay development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() });
        (params.not_before, params.not_after) = validity(env, CA_LIFE);
        let key = generate_key()?;
        let certificate = params.self_signed(&key).map_err(cannot_make)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn certify(&self, env: &Env, hostnames: &[String]) -> Result<Arc<ServerConfig>> {
        let key = KeyPair::from_pem(&self.key).map_err(cannot_make)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, key).map_err(cannot_make)?;
        let leaves = Leaves::new(env.clone(), issuer, hostnames)?;
        tls::server_config_with_resolver(Arc::new(leaves))
            .map_err(|error| Error::new(ErrorKind::Internal, "the certificate cannot be used").with_source(error))
    }
}

/// From yesterday, for clocks that differ, for `life` from now.
fn validity(env: &Env, life: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now: SystemTime = env.wall_clock();
    (OffsetDateTime::from(now - DAY), OffsetDateTime::from(now + life))
}

fn generate_key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(cannot_make)
}

fn cannot_make(error: rcgen::Error) -> Error {
    Error::new(ErrorKind::InvalidArgument, "a certificate cannot be made with the authority's files")
        .with_reason(error.to_string())
}

fn unusable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{} is not usable", path.display()))
        .with_reason(error.to_string())
        .with_source(error)
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, error)),
    }
}

/// Makes a directory that only its owner enters; one that is there is narrowed.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Writes a file that only its owner reads, whole or not at all.
///
/// # Errors
///
/// `InvalidArgument` that names the path.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("new");
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    written.map_err(|error| unusable(path, error))
}
