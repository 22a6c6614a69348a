//! What can be said on the command line of `llmroute`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::manifests::is_dns_name;

/// LLM routing declared as Kubernetes objects.
#[derive(Parser)]
#[command(name = "llmroute", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve the manifests of a folder: operator and sidecar in one process, no cluster.
    Run(Run),
}

/// Serve the manifests of a folder: operator and sidecar in one process, no cluster.
///
/// The folder is watched: an edit takes effect with the next call, a broken one
/// keeps the last good state and is told on the terminal. Values of a Secret may
/// be ${NAME}, read from the environment.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// Folder of manifests: LLMProvider, LLMRoute, Secret, ConfigMap, Namespace.
    /// Its subfolders are not read.
    pub(crate) dir: PathBuf,
    /// Where the app calls.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15480", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Where /metrics, /livez and /readyz are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15490", value_parser = address)]
    pub(crate) admin: SocketAddr,
    /// The namespace of manifests that name none, and of the workload that calls.
    #[arg(long, default_value = "default", value_parser = namespace)]
    pub(crate) namespace: String,
    /// Labels of the workload that calls, as a route's workloadSelector sees them.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// One JSON line a call, to this file or to `-` (standard output).
    #[arg(long, value_name = "-|FILE")]
    pub(crate) access_log: Option<String>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an IP address and a port: 127.0.0.1:PORT for this machine alone".to_owned()
    })
}

/// What the API server takes as a namespace's name: a label of RFC 1123.
fn namespace(text: &str) -> Result<String, String> {
    let (first, last) = (text.bytes().next(), text.bytes().next_back());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = text.len() <= 63
        && text.bytes().all(|b| inner(b) || b == b'-')
        && first.is_some_and(inner)
        && last.is_some_and(inner);
    if good {
        Ok(text.to_owned())
    } else {
        Err("write a namespace's name: at most 63 lower case letters, digits and '-', with a letter or digit at both ends".to_owned())
    }
}

/// What the API server takes as a label of a pod.
fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write KEY=VALUE, such as app=web")?;
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !prefix.is_none_or(is_dns_name) || name.is_empty() || !is_label_text(name) {
        return Err(format!(
            "{key:?} is no label's key: write a name such as app or app.kubernetes.io/name, of at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
        ));
    }
    if !is_label_text(value) {
        return Err(format!(
            "{value:?} is no label's value: write at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// A label's value, and what isn't the prefix of its key.
fn is_label_text(text: &str) -> bool {
    let text = text.as_bytes();
    let ends = [text.first(), text.last()];
    text.len() <= 63
        && ends.into_iter().flatten().all(u8::is_ascii_alphanumeric)
        && (text.iter()).all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(option: &str, value: &str) -> String {
        let option = format!("{option}={value}");
        let args = ["llmroute", "run", "manifests", &option];
        let error = Args::try_parse_from(args).map(|_| ()).expect_err("refused");
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn labels_are_what_the_api_server_takes() {
        let long = "x".repeat(64);
        let bad_keys = ["!!=x", "=x", "/a=x", "a/=x", "A_b/c=x", "a/b/c=x", "-a=x"];
        for bad in bad_keys
            .map(str::to_owned)
            .into_iter()
            .chain([format!("{long}=x")])
        {
            let said = refused("--labels", &bad);
            assert!(said.contains("is no label's key: write"), "{said}");
        }
        for bad in ["a=b=c", "a=b-", "a=ü", &format!("a={long}")] {
            let said = refused("--labels", bad);
            assert!(said.contains("is no label's value: write"), "{said}");
        }
        assert!(refused("--labels", "app").contains("write KEY=VALUE"));
        assert!(refused("--labels", "a=b=c,!!=x").contains("\"b=c\""));
        for (good, pair) in [
            ("app=web", ("app", "web")),
            ("app=", ("app", "")),
            (
                "app.kubernetes.io/Name_1=V.1",
                ("app.kubernetes.io/Name_1", "V.1"),
            ),
        ] {
            let (key, value) = pair;
            assert_eq!(label(good), Ok((key.to_owned(), value.to_owned())));
        }
    }

    #[test]
    fn a_namespace_that_cant_be_is_refused() {
        for bad in ["Bad_NS", "", "a.b", "-a", "a-", &"a".repeat(64)] {
            let said = refused("--namespace", bad);
            assert!(
                said.contains("--namespace") && said.contains("write a namespace's name"),
                "{said}"
            );
        }
        assert_eq!(namespace("shop-2"), Ok("shop-2".to_owned()));
    }

    #[test]
    fn an_address_is_an_ip_and_a_port() {
        for option in ["--listen", "--admin"] {
            for bad in ["localhost:18480", "18480", "127.0.0.1"] {
                let said = refused(option, bad);
                assert!(said.contains("127.0.0.1:PORT"), "{said}");
            }
        }
        assert!(address("[::1]:0").is_ok());
    }
}
