//! Options of listeners and senders.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hybridrelay_bindings_common::Failure;
use hybridrelay_bindings_common::core::env::Env;
use hybridrelay_bindings_common::core::{
    Forwarder, ListenerBuilder, NamespaceBuilder, Proxy, SenderBuilder, TokenProvider,
};
use hybridrelay_bindings_common::errors::Result;
use hybridrelay_bindings_common::handles::{Handle, Table};

use crate::boundary::{Out, required, run};
use crate::error::{hr_code, hr_error};

pub(crate) static OPTIONS: Table<Arc<Mutex<Options>>> = Table::new(1, "options");

/// Options for hr_listener_open, hr_sender_new, hr_listener_forward and hr_endpoints_find. {0} stands for the defaults. One object serves any
/// number of calls; a change concerns later ones.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hr_options {
    /// Not yours to read.
    pub id: u64,
}

/// An option. Durations are whole milliseconds; yes and no are 1 and 0.
pub type hr_option = u32;

/// Text: the hybrid connection, instead of the connection string's EntityPath.
pub const HR_OPT_ENTITY: hr_option = 1;
/// Text: a ready-made shared access signature, instead of the connection string's key. Replace it before it expires with
/// hr_listener_set_token and hr_sender_set_token.
pub const HR_OPT_TOKEN: hr_option = 2;
/// Text: a proxy's URL, `http://user:password@host:port` or `socks5://…`, or "none". Default: as the environment says.
pub const HR_OPT_PROXY: hr_option = 3;
/// Text: certificates in PEM to trust beside the platform's. May be set several times; each adds.
pub const HR_OPT_EXTRA_CA_PEM: hr_option = 4;
/// Text, for listeners: a sub-protocol that is accepted. May be set several times; each adds.
pub const HR_OPT_SUBPROTOCOL: hr_option = 5;
/// Text: "Name: value", a header of every handshake with the relay. May be set several times; each adds.
pub const HR_OPT_HEADER: hr_option = 6;
/// Text, for listeners: the tracking id, which begins with a GUID.
pub const HR_OPT_TRACKING_ID: hr_option = 7;
/// Text, for listeners: "key=value", what it says of itself to whoever may manage. May be set several times; each adds.
pub const HR_OPT_LABEL: hr_option = 8;
/// Duration: how long a whole connect may take. Default 60 000.
pub const HR_OPT_CONNECT_TIMEOUT_MS: hr_option = 100;
/// Duration, for listeners: how long the dial to a sender may take. Default 20 000.
pub const HR_OPT_ACCEPT_TIMEOUT_MS: hr_option = 101;
/// Duration: how long a closing connection may make no progress. Default 60 000.
pub const HR_OPT_CLOSE_TIMEOUT_MS: hr_option = 102;
/// Duration: ping after so long without a byte. Default 20 000; 0 never pings.
pub const HR_OPT_KEEP_ALIVE_MS: hr_option = 103;
/// Yes or no, for listeners: whether a lost control channel is opened again. Default yes.
pub const HR_OPT_RECONNECT: hr_option = 104;
/// Yes or no, for listeners: whether the first open waits for the network and for the hybrid connection as well. Default no.
pub const HR_OPT_WAIT: hr_option = 105;
/// Number, for listeners: the most senders that wait to be accepted. Default 1024.
pub const HR_OPT_MAX_CONCURRENT: hr_option = 106;
/// Number: the longest message in bytes that is received. Default 64 MiB.
pub const HR_OPT_MAX_MESSAGE_SIZE: hr_option = 107;
/// Yes or no: accept any certificate of the relay. Anybody in between can read and change everything then. Default no.
pub const HR_OPT_INSECURE_SKIP_VERIFY: hr_option = 108;
/// Yes or no: allow plain text to public hosts. Tokens and data travel readable then. Default no.
pub const HR_OPT_INSECURE_PLAINTEXT: hr_option = 109;
/// Yes or no, for hr_listener_forward: whether the hybrid connection's name is taken off the path. Default yes.
pub const HR_OPT_FORWARD_STRIP: hr_option = 200;
/// Yes or no, for hr_listener_forward: whether `Location` and cookies of responses are adapted to where the sender is. Default no.
pub const HR_OPT_FORWARD_REWRITE: hr_option = 201;
/// Yes or no, for hr_listener_forward: whether the server is told who asks, by `X-Forwarded-*`. Default no.
pub const HR_OPT_FORWARD_HEADERS: hr_option = 202;

#[derive(Clone, Default)]
pub(crate) struct Options {
    texts: Vec<(hr_option, String)>,
    numbers: Vec<(hr_option, u64)>,
    env: Option<Env>,
    /// Of HR_OPT_TOKEN; each listener and sender has its own.
    token: Option<TokenProvider>,
}

/// Applies what every builder has that reaches a relay.
macro_rules! apply_reach {
    ($options:expr, $builder:ident) => {
        if let Some(env) = &$options.env {
            $builder = $builder.env(env.clone());
        }
        if let Some(token) = &$options.token {
            $builder = $builder.credential(token.clone());
        }
        for (option, text) in &$options.texts {
            $builder = match *option {
                HR_OPT_PROXY => $builder.proxy(if text == "none" { Proxy::none() } else { Proxy::url(text)? }),
                HR_OPT_EXTRA_CA_PEM => $builder.extra_ca_pem(text.as_bytes()),
                HR_OPT_HEADER => match text.split_once(':') {
                    Some((name, value)) => $builder.header(name.trim(), value.trim()),
                    None => return Err(Failure::invalid("HR_OPT_HEADER has no colon: write \"Name: value\"")),
                },
                _ => $builder,
            };
        }
        for (option, number) in &$options.numbers {
            let duration = Duration::from_millis(*number);
            $builder = match *option {
                HR_OPT_CONNECT_TIMEOUT_MS => $builder.connect_timeout(duration),
                HR_OPT_INSECURE_SKIP_VERIFY => $builder.insecure_skip_verify(*number != 0),
                HR_OPT_INSECURE_PLAINTEXT => $builder.insecure_plaintext(*number != 0),
                _ => $builder,
            };
        }
    };
}

/// Applies what listeners and senders have.
macro_rules! apply_shared {
    ($options:expr, $builder:ident) => {
        apply_reach!($options, $builder);
        for (option, text) in &$options.texts {
            if *option == HR_OPT_ENTITY {
                $builder = $builder.entity(text);
            }
        }
        for (option, number) in &$options.numbers {
            let duration = Duration::from_millis(*number);
            $builder = match *option {
                HR_OPT_CLOSE_TIMEOUT_MS => $builder.close_timeout(duration),
                HR_OPT_KEEP_ALIVE_MS => $builder.keep_alive((*number > 0).then_some(duration)),
                HR_OPT_MAX_MESSAGE_SIZE => $builder.max_message_size(size(*number)),
                _ => $builder,
            };
        }
    };
}

impl Options {
    /// Those of a handle; the defaults for {0}.
    pub(crate) fn of(options: hr_options) -> Result<Self> {
        if options.id == 0 {
            return Ok(Self::default());
        }
        let options = OPTIONS.get(Handle(options.id))?;
        let mut options = options.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let token = options.texts.iter().rev().find(|(option, _)| *option == HR_OPT_TOKEN);
        options.token = token.map(|(_, token)| TokenProvider::ready_made(token.as_str())).transpose()?;
        Ok(options)
    }

    /// What the token of a listener or sender that is made with these is replaced by.
    pub(crate) fn token(&self) -> Option<TokenProvider> {
        self.token.clone()
    }

    pub(crate) fn listener(&self, mut builder: ListenerBuilder) -> Result<ListenerBuilder> {
        apply_shared!(self, builder);
        let subprotocols: Vec<_> = self.texts.iter().filter(|(option, _)| *option == HR_OPT_SUBPROTOCOL).collect();
        if !subprotocols.is_empty() {
            builder = builder.subprotocols(subprotocols.into_iter().map(|(_, name)| name));
        }
        for (option, text) in &self.texts {
            builder = match (*option, text.split_once('=')) {
                (HR_OPT_TRACKING_ID, _) => builder.tracking_id(text),
                (HR_OPT_LABEL, Some((key, value))) => builder.label(key, value),
                (HR_OPT_LABEL, None) => return Err(Failure::invalid("HR_OPT_LABEL has no =: write \"key=value\"")),
                _ => builder,
            };
        }
        for (option, number) in &self.numbers {
            builder = match *option {
                HR_OPT_ACCEPT_TIMEOUT_MS => builder.accept_timeout(Duration::from_millis(*number)),
                HR_OPT_RECONNECT => builder.reconnect(*number != 0),
                HR_OPT_WAIT => builder.wait(*number != 0),
                HR_OPT_MAX_CONCURRENT => builder.max_concurrent(size(*number)),
                _ => builder,
            };
        }
        Ok(builder)
    }

    pub(crate) fn namespace(&self, mut builder: NamespaceBuilder) -> Result<NamespaceBuilder> {
        apply_reach!(self, builder);
        Ok(builder)
    }

    pub(crate) fn sender(&self, mut builder: SenderBuilder) -> Result<SenderBuilder> {
        apply_shared!(self, builder);
        Ok(builder)
    }

    /// For the server that is forwarded to: what its certificates are checked with, and how it sees requests.
    pub(crate) fn forwarder(&self, mut forwarder: Forwarder) -> Forwarder {
        for (option, text) in &self.texts {
            if *option == HR_OPT_EXTRA_CA_PEM {
                forwarder = forwarder.extra_ca_pem(text.as_bytes());
            }
        }
        for (option, number) in &self.numbers {
            forwarder = match *option {
                HR_OPT_INSECURE_SKIP_VERIFY => forwarder.insecure_skip_verify(*number != 0),
                HR_OPT_FORWARD_STRIP => forwarder.strip(*number != 0),
                HR_OPT_FORWARD_REWRITE => forwarder.rewrite(*number != 0),
                HR_OPT_FORWARD_HEADERS => forwarder.forwarded_headers(*number != 0),
                _ => forwarder,
            };
        }
        forwarder
    }
}

/// What is made with the options lives in this environment.
pub(crate) fn use_env(options: hr_options, env: Env) -> Result<()> {
    let options = OPTIONS.get(Handle(options.id))?;
    options.lock().unwrap_or_else(PoisonError::into_inner).env = Some(env);
    Ok(())
}

/// Replaces a ready-made token.
pub(crate) fn set_token(provider: Option<TokenProvider>, token: &str) -> Result<()> {
    let without = || Failure::invalid("there is no token to replace: it was made without HR_OPT_TOKEN");
    Ok(provider.ok_or_else(without)?.set_token(token)?)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Makes options with every default. Release them with hr_options_release.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_options_new(options: *mut hr_options, error: *mut *mut hr_error) -> hr_code {
    unsafe {
        run(error, || {
            let out = Out::new("options", options)?;
            out.set(hr_options { id: OPTIONS.insert(Arc::default())?.0 });
            Ok(())
        })
    }
}

/// Sets an option that is a text. Those that are yes or no, numbers or durations are refused. Whether the text can be used is told by
/// the call that uses the options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_options_set_str(
    options: hr_options,
    option: hr_option,
    value: *const c_char,
    len: usize,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let value = required("value", value, len)?;
            let options = OPTIONS.get(Handle(options.id))?;
            if !(HR_OPT_ENTITY..=HR_OPT_LABEL).contains(&option) {
                return Err(Failure::invalid(format!("{option} is no option that is a text")));
            }
            options.lock().unwrap_or_else(PoisonError::into_inner).texts.push((option, value.to_owned()));
            Ok(())
        })
    }
}

/// Sets an option that is a number, a duration, or yes or no.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_options_set_int(
    options: hr_options,
    option: hr_option,
    value: u64,
    error: *mut *mut hr_error,
) -> hr_code {
    unsafe {
        run(error, || {
            let options = OPTIONS.get(Handle(options.id))?;
            let is_number = (HR_OPT_CONNECT_TIMEOUT_MS..=HR_OPT_INSECURE_PLAINTEXT).contains(&option)
                || (HR_OPT_FORWARD_STRIP..=HR_OPT_FORWARD_HEADERS).contains(&option);
            if !is_number {
                return Err(Failure::invalid(format!("{option} is no option that is a number")));
            }
            options.lock().unwrap_or_else(PoisonError::into_inner).numbers.push((option, value));
            Ok(())
        })
    }
}

/// Releases options; listeners and senders that were made with them keep what they have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hr_options_release(options: hr_options, error: *mut *mut hr_error) -> hr_code {
    unsafe { run(error, || OPTIONS.remove(Handle(options.id)).map(drop)) }
}
