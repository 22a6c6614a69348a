//! `TokenReview`, and what its answers mean.
//!
//! A refused token is explained by a text only. The texts that are told apart
//! here are those of the API server's service-account authenticator; any other
//! means that nobody knows the token.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use llmroute_protocol::TOKEN_AUDIENCE;

use super::auth::{Refusal, Reviewed, Reviewer};
use crate::kubernetes::{call, code};

const USER_PREFIX: &str = "system:serviceaccount:";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// The API server's own word.
pub struct KubeReviewer(Api<TokenReview>);

impl KubeReviewer {
    /// Asks with this client, which must be allowed to create `TokenReviews`.
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

impl Reviewer for KubeReviewer {
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Reviewed, Refusal>> {
        Box::pin(async move {
            let review = TokenReview {
                spec: TokenReviewSpec {
                    audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]),
                    token: Some(token.to_owned()),
                },
                ..TokenReview::default()
            };
            match call(self.0.create(&PostParams::default(), &review)).await {
                Ok(review) => read(review.status.unwrap_or_default()),
                Err(error) => {
                    // The request isn't shown: it holds the token.
                    tracing::warn!(%error, "token not reviewed");
                    Err(match code(&error) {
                        Some(401 | 403) => Refusal::NotAllowed,
                        _ => Refusal::Unavailable,
                    })
                }
            }
        })
    }
}

fn read(status: TokenReviewStatus) -> Result<Reviewed, Refusal> {
    if status.authenticated != Some(true) {
        return Err(why(status.error.as_deref().unwrap_or_default()));
    }
    let ours = |audience: &String| audience == TOKEN_AUDIENCE;
    if !status.audiences.iter().flatten().any(ours) {
        return Err(Refusal::WrongAudience);
    }
    let user = status.user.unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let account = name
        .strip_prefix(USER_PREFIX)
        .and_then(|n| n.split_once(':'));
    let (namespace, service_account) = account.ok_or(Refusal::NotBound)?;
    let extra = user.extra.unwrap_or_default();
    let pod = one(&extra, POD_NAME).zip(one(&extra, POD_UID));
    Ok(Reviewed {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        pod,
    })
}

fn one(extra: &BTreeMap<String, Vec<String>>, key: &str) -> Option<String> {
    let values = extra.get(key)?;
    values.first().filter(|value| !value.is_empty()).cloned()
}

/// What the API server's text means. Several authenticators may have spoken;
/// the one that knows most about the token is heard.
fn why(error: &str) -> Refusal {
    let says = |text: &str| error.contains(text);
    if says("invalid for the target audiences") {
        Refusal::WrongAudience
    } else if says("token has expired") {
        Refusal::Expired
    } else if says("been invalidated") || says("been deleted") || says("pod UID") {
        Refusal::PodGone
    } else {
        Refusal::NotAuthenticated
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(value: serde_json::Value) -> Result<Reviewed, Refusal> {
        read(serde_json::from_value(value).expect("a TokenReviewStatus"))
    }

    fn good(extra: &serde_json::Value) -> serde_json::Value {
        json!({
            "authenticated": true,
            "audiences": ["llmroute.dev"],
            "user": {"username": "system:serviceaccount:shop:web", "extra": extra},
        })
    }

    #[test]
    fn account_and_pod_are_the_api_servers_word() {
        let extra = json!({POD_NAME: ["web-1"], POD_UID: ["u-1"]});
        let expected = Reviewed {
            namespace: "shop".into(),
            service_account: "web".into(),
            pod: Some(("web-1".into(), "u-1".into())),
        };
        assert_eq!(status(good(&extra)), Ok(expected));
    }

    #[test]
    fn a_token_without_a_pod_has_none() {
        for extra in [
            json!({}),
            json!({POD_NAME: ["web-1"]}),
            json!({POD_NAME: [], POD_UID: [""]}),
        ] {
            assert_eq!(status(good(&extra)).map(|r| r.pod), Ok(None), "{extra}");
        }
    }

    #[test]
    fn a_user_that_is_no_service_account_is_bound_to_no_pod() {
        let mut user = good(&json!({}));
        user["user"]["username"] = json!("kubernetes-admin");
        assert_eq!(status(user), Err(Refusal::NotBound));
    }

    #[test]
    fn an_authenticator_that_ignores_audiences_proves_nothing() {
        let mut other = good(&json!({}));
        other["audiences"] = json!(["https://kubernetes.default.svc"]);
        assert_eq!(status(other), Err(Refusal::WrongAudience));
        let mut silent = good(&json!({}));
        silent["audiences"] = json!(null);
        assert_eq!(status(silent), Err(Refusal::WrongAudience));
    }

    #[test]
    fn each_text_of_the_api_server_has_its_reason() {
        for (error, expected) in [
            (
                "[invalid bearer token, token audiences [\"a\"] is invalid for the target audiences [\"llmroute.dev\"]]",
                Refusal::WrongAudience,
            ),
            (
                "[invalid bearer token, service account token has expired]",
                Refusal::Expired,
            ),
            (
                "[invalid bearer token, service account token has been invalidated]",
                Refusal::PodGone,
            ),
            (
                "[invalid bearer token, pod UID (a) does not match service account pod ref claim (b)]",
                Refusal::PodGone,
            ),
            ("invalid bearer token", Refusal::NotAuthenticated),
            ("", Refusal::NotAuthenticated),
        ] {
            let refused = status(json!({"authenticated": false, "error": error}));
            assert_eq!(refused, Err(expected), "{error}");
        }
    }
}
