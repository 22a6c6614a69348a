//! `llmroute run` as a person uses it: the real binary, a folder, `curl`.

mod process;

use std::fs;

use process::{Answer, Running, upstream};

const MOCK: &str = "
apiVersion: llmroute.dev/v1alpha1
kind: LLMProvider
metadata: {name: mock}
spec: {type: mock}
";

fn route(models: &str, rest: &str) -> String {
    format!(
        "
apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata: {{name: chat}}
spec:
  rules:
    - name: chat
      matches: [{{models: [{models}]}}]
      targets: [{{providerRef: {{name: mock}}, model: echo}}]
{rest}"
    )
}

#[test]
fn the_quickstart_answers_without_a_key() {
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart");
    let running = Running::over(quickstart.as_ref(), &[], &[]);
    running.says("secret.yaml: Secret default/openai: stringData.api-key is left out: OPENAI_API_KEY isn't set");
    running.says("LLMProvider default/mock: Accepted=True ResolvedRefs=True CredentialsReady=True Ready=True");
    running.says("Programmed=True");
    running.says(&format!("OPENAI_BASE_URL=http://{}/v1", running.address()));
    let answer = running.chat("gpt-4o-mini", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-llmroute-provider"), "default/mock");
    assert!(answer.body.contains("hello"), "{answer:?}");
    let streamed = running.chat("gpt-4o-mini", r#""stream": true, "#);
    assert!(
        streamed.body.trim_end().ends_with("data: [DONE]"),
        "{streamed:?}"
    );
}

#[test]
fn an_edit_takes_effect_with_the_next_call() {
    let running = Running::with(
        &[("mock.yaml", MOCK), ("route.yaml", &route("one", ""))],
        &[],
        &[],
    );
    assert_eq!(running.chat("one", "").status, 200);
    assert_eq!(running.chat("two", "").status, 404);
    running.write("route.yaml", &route("one, two", ""));
    running.eventually("the second model is served", |running| {
        running.chat("two", "").status == 200
    });
    assert_eq!(
        running.chat("two", "").header("x-llmroute-config-version"),
        "chat@2"
    );
    fs::remove_file(running.dir().join("route.yaml")).expect("removed");
    running.says("LLMRoute default/chat: gone");
    assert_ne!(running.chat("two", "").status, 200);
}

#[test]
fn a_broken_edit_keeps_the_last_good_state_and_says_what_is_wrong() {
    let running = Running::with(
        &[("mock.yaml", MOCK), ("route.yaml", &route("one", ""))],
        &[],
        &[],
    );
    running.write(
        "route.yaml",
        &route("two", "      timeouts: {connect: 3 seconds}\n"),
    );
    running
        .says("route.yaml: LLMRoute default/chat: spec.rules[0].timeouts.connect: Invalid value");
    running.says("such as 10s or 1m30s");
    assert_eq!(running.chat("one", "").status, 200, "the last good state");
    running.write("route.yaml", "kind: [");
    running.says("route.yaml: isn't YAML");
    assert_eq!(running.chat("one", "").status, 200, "the last good state");
    running.write("mock.yaml", &MOCK.replace("type: mock", "type: openai"));
    running
        .says("mock.yaml: LLMProvider default/mock: spec: spec.type is immutable: create another");
    running.write("route.yaml", &route("two", ""));
    running.says("route.yaml: in order again");
    running.eventually("the mended route is served", |running| {
        running.chat("two", "").status == 200
    });
}

#[test]
fn a_key_from_the_environment_reaches_the_provider_and_nothing_else() {
    let (address, heard) = upstream();
    let provider = format!(
        "
apiVersion: llmroute.dev/v1alpha1
kind: LLMProvider
metadata: {{name: mine}}
spec:
  type: custom
  dialect: OpenAI
  endpoint: {{baseURL: \"http://{address}/v1\"}}
  auth: {{type: SecretRef, secretRef: {{name: mine}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: mine, labels: {{llmroute.dev/credential: \"true\"}}}}
stringData: {{api-key: \"${{MY_KEY}}\"}}
"
    );
    let files = [
        ("a.yaml", provider.as_str()),
        (
            "route.yaml",
            &route("one", "").replace("name: mock", "name: mine"),
        ),
    ];
    let running = Running::with(&files, &[], &[("MY_KEY", "sk-planted-4711")]);
    let answer = running.chat("one", "");
    assert_eq!(answer.status, 200, "{answer:?} {}", running.output());
    let request = heard
        .recv_timeout(process::PATIENCE)
        .expect("the upstream was called");
    assert!(
        request
            .to_lowercase()
            .contains("authorization: bearer sk-planted-4711"),
        "{request}"
    );
    assert!(
        !running.output().contains("planted"),
        "{}",
        running.output()
    );
}

#[test]
fn a_route_serves_only_the_workload_that_it_selects() {
    let selecting = route("one", "").replace(
        "spec:\n",
        "spec:\n  workloadSelector: {matchLabels: {app: web}}\n",
    );
    let files = [("mock.yaml", MOCK), ("route.yaml", selecting.as_str())];
    let other = Running::with(&files, &[], &[]);
    other.says("Programmed NoSidecars");
    assert_ne!(other.chat("one", "").status, 200);
    let meant = Running::with(&files, &["--labels", "app=web", "--namespace", "shop"], &[]);
    meant.says("LLMRoute shop/chat:");
    assert_eq!(meant.chat("one", "").status, 200);
}

#[test]
fn a_port_in_use_is_named_with_the_option_that_changes_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for option in ["--listen", "--admin"] {
        let dir = tempfile::tempdir().expect("a folder");
        let (code, said) = process::ends(dir.path(), &[option, &address]);
        assert_ne!(code, Some(0));
        assert!(
            said.contains(&format!("{address} is in use")) && said.contains(option),
            "{said}"
        );
    }
    let (code, said) = process::ends("/nowhere".as_ref(), &[]);
    assert_ne!(code, Some(0));
    assert!(said.contains("/nowhere: no such folder"), "{said}");
}

#[test]
fn the_first_signal_lets_open_calls_finish() {
    let running = Running::with(
        &[("mock.yaml", MOCK), ("route.yaml", &route("one", ""))],
        &[],
        &[],
    );
    let call = running.begin(
        "one",
        r#""stream": true, "#,
        "x-llmroute-mock: chunks=10,gap=100ms\r\n",
    );
    running.interrupt();
    running.says("ending: open calls may finish");
    let answer = Answer::read(call);
    assert!(
        answer.body.trim_end().ends_with("data: [DONE]"),
        "{answer:?}"
    );
    assert_eq!(running.exit(), Some(0));
}

#[test]
fn admin_and_access_log_are_where_they_were_asked_for() {
    let files = [("mock.yaml", MOCK), ("route.yaml", &route("one", ""))];
    let running = Running::with(&files, &["--access-log", "-"], &[]);
    assert_eq!(running.chat("one", "").status, 200);
    running.says("\"route\":\"default/chat@1\"");
    running.says("serving on");
}

#[test]
fn a_folder_that_is_gone_mends_none_of_its_files() {
    let files = [("mock.yaml", MOCK), ("broken.yaml", "kind: [")];
    let running = Running::with(&files, &[], &[]);
    running.says("broken.yaml: isn't YAML");
    let away = running.dir().with_extension("away");
    fs::rename(running.dir(), &away).expect("moved");
    running.says("manifests: can't read the folder");
    fs::rename(&away, running.dir()).expect("moved back");
    running.says("manifests: in order again");
    assert!(!running.output().contains("broken.yaml: in order again"));
    running.write(
        "broken.yaml",
        MOCK.replace("name: mock", "name: other").as_str(),
    );
    running.says("broken.yaml: in order again");
    assert_eq!(running.output().matches("isn't YAML").count(), 1);
}

#[test]
fn a_route_that_comes_or_goes_is_no_news_of_its_provider() {
    let files = [("mock.yaml", MOCK), ("route.yaml", &route("one", ""))];
    let running = Running::with(&files, &[], &[]);
    let other = route("two", "").replace("name: chat}\nspec", "name: other}\nspec");
    running.write("other.yaml", &other);
    running.says("LLMRoute default/other: Accepted=True");
    running.eventually("it is served", |running| {
        running.chat("two", "").status == 200
    });
    fs::remove_file(running.dir().join("other.yaml")).expect("removed");
    running.says("LLMRoute default/other: gone");
    let told = running.output();
    assert_eq!(
        told.matches("LLMProvider default/mock:").count(),
        1,
        "{told}"
    );
    assert_eq!(told.matches("LLMRoute default/chat:").count(), 1, "{told}");
}
