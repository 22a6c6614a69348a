//! What stands around the server: a reviewer, an API server with pods, a view.

use super::*;

/// Reads the claims of the fake tokens; `says` is answered first.
#[derive(Default)]
pub(super) struct FakeReviewer {
    pub(super) says: Mutex<HashMap<String, Refusal>>,
    pub(super) asked: AtomicUsize,
}

#[derive(Default)]
pub(super) struct FakePods {
    pub(super) pods: Mutex<HashMap<ObjectRef, PodFacts>>,
    pub(super) cut: Mutex<bool>,
    pub(super) asked: AtomicUsize,
}

/// Pods, and by their label `app` what they need.
#[derive(Clone, Default)]
pub(super) struct FakeView {
    pub(super) pods: HashMap<ObjectRef, Arc<PodFacts>>,
    pub(super) configs: HashMap<String, Arc<PodConfig>>,
}

// ---------------------------------------------------------------- impl

impl Reviewer for FakeReviewer {
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Reviewed, Refusal>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let refusal = self.says.lock().expect("no panic").get(token).copied();
        Box::pin(async move {
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            let payload = token.split('.').nth(1).ok_or(Refusal::NotAuthenticated)?;
            let claims = URL_SAFE_NO_PAD.decode(payload).expect("of a test");
            let claims: Value = serde_json::from_slice(&claims).expect("of a test");
            let text = |name: &str| claims[name].as_str().map(str::to_owned);
            Ok(Reviewed {
                namespace: text("namespace").expect("of a test"),
                service_account: "web".into(),
                pod: text("pod").zip(text("uid")),
            })
        })
    }
}

impl PodLookup for FakePods {
    fn get<'a>(
        &'a self,
        id: &'a ObjectRef,
    ) -> BoxFuture<'a, Result<Option<Arc<PodFacts>>, CallError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let cut = *self.cut.lock().expect("no panic");
        let pod = self.pods.lock().expect("no panic").get(id).cloned();
        Box::pin(async move {
            if cut {
                return Err(CallError::Timeout);
            }
            Ok(pod.map(Arc::new))
        })
    }
}

impl FakeView {
    pub(super) fn with_web(body: &str) -> Self {
        let mut view = Self::default();
        view.put(web_pod());
        view.set("web", [route("chat", body)]);
        view
    }

    pub(super) fn put(&mut self, pod: PodFacts) {
        self.pods.insert(pod.id(), Arc::new(pod));
    }

    pub(super) fn set(&mut self, app: &str, bodies: impl IntoIterator<Item = Body>) {
        let resources: BTreeMap<_, _> = bodies
            .into_iter()
            .map(|body| (body.key(), Arc::new(body.into_resource())))
            .collect();
        let hash = set_hash(resources.iter().map(|(key, r)| (key, r.version.as_str())));
        let routes = resources
            .keys()
            .filter_map(|key: &Key| ObjectRef::parse(&key.name));
        let config = PodConfig {
            routes: routes.collect(),
            hash,
            resources,
        };
        self.configs.insert(app.into(), Arc::new(config));
    }
}

impl View for FakeView {
    fn pod(&self, id: &ObjectRef) -> Option<Arc<PodFacts>> {
        self.pods.get(id).cloned()
    }

    fn config(&self, pod: &PodFacts) -> Arc<PodConfig> {
        let app = pod.labels.get("app").map_or("", String::as_str);
        self.configs.get(app).cloned().unwrap_or_default()
    }
}
