//! Whose token it is, by the word of a real API server: what it says of good
//! tokens, and that the texts by which it refuses others are the ones that the
//! operator tells apart.

use llmroute_operator::session::{KubePods, KubeReviewer, PodLookup, Refusal, Reviewer};
use llmroute_operator::world::ObjectRef;
use llmroute_tests::prelude::*;

async fn reviewer() -> Result<KubeReviewer> {
    Ok(KubeReviewer::new(Cluster::shared().await.client().await?))
}

#[tokio::test]
async fn a_bound_token_names_its_pod_and_account() -> Result<()> {
    let namespace = Cluster::shared().await.namespace("review").await?;
    namespace.pod("web-1", "web").await?;
    let token = namespace.token("web-1").await?;
    let reviewed = reviewer().await?.review(&token).await?;
    assert_eq!(reviewed.namespace, namespace.name);
    assert_eq!(reviewed.service_account, "default");
    let (name, uid) = reviewed.pod.context("bound to a pod")?;
    assert_eq!(name, "web-1");

    let pods = KubePods::new(Cluster::shared().await.client().await?);
    let id = ObjectRef::new(&namespace.name, "web-1");
    let pod = pods.get(&id).await?.context("there is one")?;
    assert_eq!(pod.uid, uid);
    assert!(pod.injected && !pod.terminating);
    assert_eq!(pod.labels["app"], "web");
    let none = pods.get(&ObjectRef::new(&namespace.name, "web-2")).await?;
    assert_eq!(none, None);
    Ok(())
}

#[tokio::test]
async fn tokens_that_are_none_of_ours_are_refused_with_their_reasons() -> Result<()> {
    let namespace = Cluster::shared().await.namespace("review").await?;
    namespace.pod("web-1", "web").await?;
    let bound = ["--bound-object-kind", "Pod", "--bound-object-name", "web-1"];
    let good = namespace.token("web-1").await?;
    let foreign = [&["--audience", "other.test"], &bound[..]].concat();
    let foreign = namespace.token_with(&foreign).await?;
    let plain = namespace.token_with(&bound).await?;
    let (head, signature) = good.rsplit_once('.').context("a JWT")?;
    let flipped: String = signature.chars().rev().collect();
    let reviewer = reviewer().await?;
    for (what, token, expected) in [
        ("of another audience", &foreign, Refusal::WrongAudience),
        ("for the API server", &plain, Refusal::WrongAudience),
        (
            "forged",
            &format!("{head}.{flipped}"),
            Refusal::NotAuthenticated,
        ),
        ("no JWT", &"secret".to_owned(), Refusal::NotAuthenticated),
    ] {
        let refused = reviewer.review(token).await;
        assert_eq!(refused, Err(expected), "{what}");
    }
    let unbound = namespace
        .token_with(&["--audience", "llmroute.dev"])
        .await?;
    assert_eq!(reviewer.review(&unbound).await?.pod, None);
    Ok(())
}

#[tokio::test]
async fn the_token_of_a_deleted_pod_is_refused_as_that() -> Result<()> {
    let namespace = Cluster::shared().await.namespace("review").await?;
    namespace.pod("web-1", "web").await?;
    let token = namespace.token("web-1").await?;
    namespace
        .kubectl(&["delete", "pod", "web-1", "--force", "--grace-period=0"])
        .await?;
    // The API server itself remembers a review for some seconds.
    let reviewer = reviewer().await?;
    let refused = reviewer.review(&token).await;
    assert_eq!(refused, Err(Refusal::PodGone));

    namespace.pod("web-1", "web").await?;
    let refused = reviewer.review(&token).await;
    assert_eq!(refused, Err(Refusal::PodGone), "another pod of the name");
    Ok(())
}
