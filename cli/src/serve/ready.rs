//! What a relay says when it is ready.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::console::{program, quote};
use crate::state;

/// The ready line. It holds the key: only a development relay prints it. Not `Debug` for that reason.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ready {
    pub(super) ready: bool,
    pub(super) listen: Vec<String>,
    pub(super) namespace: String,
    pub(super) connection_string: String,
    pub(super) ca_file: String,
    pub(super) key_name: &'static str,
    pub(super) key: String,
    pub(super) admin: String,
    /// Where senders begin their URLs; the program gets it from the connection string.
    #[serde(skip)]
    pub(super) base: String,
    /// Only if they are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metrics: Option<String>,
}

impl Ready {
    /// One line for a program.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and booleans always serialise")
    }

    /// Six lines for a person, the last four to paste.
    pub(super) fn to_text(&self) -> String {
        let mut variables = format!("HYBRIDRELAY_CONNECTION_STRING={}", quote(&self.connection_string));
        // The commands find an authority at home by themselves.
        if Path::new(&self.ca_file).parent() != home().as_deref() {
            variables.push_str(&format!(" HYBRIDRELAY_EXTRA_CA={}", quote(&self.ca_file)));
        }
        let metrics = self.metrics.iter().map(|metrics| format!(", metrics {metrics}"));
        let also: String = [format!("admin {}", self.admin)].into_iter().chain(metrics).collect();
        let (listen, program) = (self.listen.join("  "), program());
        let trust =
            if self.base.starts_with("https:") { format!("--cacert {} ", quote(&self.ca_file)) } else { String::new() };
        let token = format!("ServiceBusAuthorization: $({program} token create web)");
        format!(
            "listening  {listen}  ({also})\nCA         {}\nexport {variables}\n{program} listen hello --echo\n\
             {program} expose web http://localhost:8080\ncurl {trust}-H \"{token}\" {}/web/",
            self.ca_file, self.base,
        )
    }
}

fn home() -> Option<PathBuf> {
    state::home_directory()?.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(ca_file: &str) -> Ready {
        Ready {
            ready: true,
            listen: vec!["https://127.0.0.1:9443".into(), "http://127.0.0.1:9080".into()],
            namespace: "localhost".into(),
            connection_string: "Endpoint=sb://localhost:9443/;SharedAccessKey=k=".into(),
            ca_file: ca_file.into(),
            key_name: "RootManageSharedAccessKey",
            key: "k=".into(),
            admin: "https://127.0.0.1:9444".into(),
            base: "https://localhost:9443".into(),
            metrics: None,
        }
    }

    #[test]
    fn a_person_gets_six_lines_of_which_four_are_to_paste() {
        let text = ready("/srv/it's/ca.pem").to_text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(
            lines[0],
            "listening  https://127.0.0.1:9443  http://127.0.0.1:9080  (admin https://127.0.0.1:9444)"
        );
        assert_eq!(lines[1], "CA         /srv/it's/ca.pem");
        assert_eq!(
            lines[2],
            r"export HYBRIDRELAY_CONNECTION_STRING='Endpoint=sb://localhost:9443/;SharedAccessKey=k=' HYBRIDRELAY_EXTRA_CA='/srv/it'\''s/ca.pem'"
        );
        assert!(lines[3].ends_with(" listen hello --echo"));
        assert!(lines[4].ends_with(" expose web http://localhost:8080"));
        assert!(lines[5].starts_with(r"curl --cacert '/srv/it'\''s/ca.pem' -H "), "{}", lines[5]);
        assert!(lines[5].ends_with(r#" token create web)" https://localhost:9443/web/"#), "{}", lines[5]);
    }

    #[test]
    fn a_program_gets_one_line_in_a_fixed_order() {
        assert_eq!(
            ready("/x/ca.pem").to_json(),
            r#"{"ready":true,"listen":["https://127.0.0.1:9443","http://127.0.0.1:9080"],"namespace":"localhost","connectionString":"Endpoint=sb://localhost:9443/;SharedAccessKey=k=","caFile":"/x/ca.pem","keyName":"RootManageSharedAccessKey","key":"k=","admin":"https://127.0.0.1:9444"}"#
        );
    }
}
