//! Made-up pages of both languages, what they tell, and pages that tell nothing.

use super::*;

const KAI: &str = include_str!("../../fixtures/placement/kai.json");
const GROVE: &str = include_str!("../../fixtures/placement/grove.json");
const SLURM: &str = include_str!("../../fixtures/placement/slurm.json");
const SLURM_TEXT: &str = include_str!("../../fixtures/placement/slurm.txt");

fn of(pages: &[(&str, &str)]) -> Result<Vec<Placement>, PlacementError> {
    read(&pages.iter().map(|(page, text)| ((*page).to_owned(), (*text).to_owned())).collect::<Vec<_>>())
}

fn lines(pages: &[(&str, &str)]) -> Vec<String> {
    of(pages).unwrap().iter().map(line).collect()
}

#[test]
fn pages_in_lines() {
    assert_eq!(
        lines(&[("kai.json", KAI)]),
        [
            "placed by default-scheduler: 1 pod, on cpu-node; read from kai.json",
            "placed by kai-scheduler: PodGroup pg-decode-5d0a (2 or none), 2 pods, on gpu-node-a and gpu-node-b, 8 GPUs \
             (NVIDIA-H100-80GB-HBM3), rack rack-7 and rack-8, zone zone-1; read from kai.json",
        ]
    );
    assert_eq!(
        lines(&[("grove.json", GROVE)]),
        ["placed by kai-scheduler: PodGang disagg-0 (3 or none), 3 pods, on n1, 1 waiting, 5 GPUs; read from grove.json"]
    );
    assert_eq!(
        lines(&[("job.json", SLURM)]),
        [
            "placed by slurm: job 4711 (2 or none), on gpu01 and gpu02, 12 GPUs (h100); read from job.json",
            "placed by slurm: job 4712 (4 or none), on no node yet; read from job.json",
        ]
    );
    assert_eq!(
        lines(&[("job.txt", SLURM_TEXT)]),
        [
            "placed by slurm: job 4711 (2 or none), on gpu01 and gpu02, 16 GPUs (h100); read from job.txt",
            "placed by slurm: job 4712 (4 or none), on no node yet; read from job.txt",
        ]
    );
}

#[test]
fn every_value_names_what_it_was_read_from() {
    let placements = of(&[("kai.json", KAI)]).unwrap();
    let decode = &placements[1];
    let gang = decode.gang.as_ref().unwrap();
    assert_eq!(gang.minimum, Some(Read { value: 2, read: "kai.json: PodGroup pg-decode-5d0a".into() }));
    let member = &decode.members[1];
    assert_eq!(member.gpus, Some(Read { value: 4, read: "kai.json: Pod decode-1".into() }), "asked for as a number, in requests alone");
    assert_eq!(member.gpu_product.as_ref().unwrap().read, "kai.json: Node gpu-node-b");
    assert_eq!(member.topology["topology.kubernetes.io/rack"].value, "rack-8");
    assert_eq!(member.topology.len(), 2, "{:?}", member.topology);
    let text = serde_json::to_string(&placements).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Placement>>(&text).unwrap(), placements);
    for page in [("a", KAI), ("a", SLURM)] {
        assert!(!format!("{:?}", of(&[page])).contains("planted-secret"));
    }
}

/// A list of these objects.
fn items(objects: &[serde_json::Value]) -> String {
    serde_json::json!({"kind": "List", "items": objects}).to_string()
}

/// The objects of `page` that `keep`.
fn part(page: &str, keep: impl Fn(&str) -> bool) -> String {
    let page: serde_json::Value = serde_json::from_str(page).unwrap();
    let objects = page["items"].as_array().unwrap();
    items(&objects.iter().filter(|o| keep(o["kind"].as_str().unwrap())).cloned().collect::<Vec<_>>())
}

#[test]
fn pages_are_read_together_in_any_order() {
    let (pods, nodes, groups) = (part(KAI, |k| k == "Pod"), part(KAI, |k| k == "Node"), part(KAI, |k| k == "PodGroup"));
    let whole = lines(&[("a", KAI)]);
    for order in [[&pods, &nodes, &groups], [&nodes, &groups, &pods], [&groups, &pods, &nodes]] {
        let pages: Vec<(&str, &str)> = order.iter().map(|page| ("a", page.as_str())).collect();
        assert_eq!(lines(&pages), whole);
    }
    assert_eq!(lines(&[("a", KAI), ("a", &pods)]), whole, "a pod that is told twice is one");
    let alone = lines(&[("pods.json", &pods)]);
    assert!(alone[1].contains("(the least of it unknown)") && alone[1].ends_with("8 GPUs; read from pods.json"), "{alone:?}");
    assert_eq!(lines(&[("a", &pods), ("b", SLURM)]).len(), 4, "two schedulers stand beside each other");
}

#[test]
fn the_least_of_a_gang() {
    let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": {"pod-group-name": "g"}}, "spec": {}});
    let check = |spec: serde_json::Value, expect: Option<u32>| {
        let group =
            serde_json::json!({"apiVersion": "scheduling.run.ai/v2alpha2", "kind": "PodGroup", "metadata": {"name": "g"}, "spec": spec});
        let found = of(&[("a", &items(&[pod.clone(), group]))]).unwrap();
        assert_eq!(found[0].scheduler.value, "default-scheduler");
        assert_eq!(found[0].gang.as_ref().unwrap().minimum.as_ref().map(|n| n.value), expect);
    };
    check(serde_json::json!({"minMember": 3}), Some(3));
    check(serde_json::json!({}), None);
    let group = |name: &str, parent: Option<&str>, least: u32| serde_json::json!({"name": name, "parent": parent, "minMember": least});
    let tree = [group("decode", None, 2), group("leader", Some("decode"), 1), group("worker", Some("decode"), 4)];
    check(serde_json::json!({"minMember": 1, "subGroups": tree}), Some(5));
    check(serde_json::json!({"minSubGroup": 1, "subGroups": tree}), None);
    check(serde_json::json!({"subGroups": [{"name": "a"}]}), None);

    // Without its PodGang, the set tells it, unless cliques scale together.
    let without = part(GROVE, |kind| kind != "PodGang");
    let least = |page: &str| {
        let found = of(&[("a", page)]).unwrap();
        found.iter().find_map(|p| p.gang.clone()).unwrap().minimum.map(|n| n.value)
    };
    assert_eq!(least(&without), Some(3));
    let scaled = without.replace("\"cliques\":", "\"podCliqueScalingGroups\":[{\"name\":\"g\"}],\"cliques\":");
    assert_ne!(scaled, without);
    assert_eq!(least(&scaled), None);
}

#[test]
fn slurm_of_other_versions() {
    let old = r#"{"jobs": [{"job_id": 7, "job_state": "RUNNING", "nodes": "n1", "node_count": 1, "gres_detail": [],
        "tres_alloc_str": "cpu=8,gres/gpu=2"}]}"#;
    assert_eq!(lines(&[("a", old)]), ["placed by slurm: job 7 (1 or none), on n1, 2 GPUs; read from a"]);
    let many = old.replace("\"n1\"", "\"n[1-6]\"");
    assert_eq!(lines(&[("a", &many)]), ["placed by slurm: job 7 (1 or none), on 6 nodes; read from a"], "a sum over nodes is not divided");
    let unset = old.replace(": 1,", ": {\"set\": false, \"number\": 0},");
    assert_eq!(lines(&[("a", &unset)]), ["placed by slurm: job 7 (the least of it unknown), on n1, 2 GPUs; read from a"]);
    let one_line = "JobId=7 JobName=a JobState=RUNNING NodeList=n1 NumNodes=1 TresPerNode=gres/gpu:2";
    assert_eq!(lines(&[("a", one_line)]), ["placed by slurm: job 7 (1 or none), on n1, 2 GPUs; read from a"]);
}

#[test]
fn what_tells_nothing_says_why_and_what_to_do() {
    let check = |text: &str, words: &[&str]| {
        let why = of(&[("p.json", text)]).unwrap_err().to_string();
        for words in words.iter().chain(&["p.json", "kubectl get pods,podgroups,nodes -o json"]) {
            assert!(why.contains(words), "{words}: {why}");
        }
    };
    check("", &["it is empty"]);
    check("NAME READY\np 1/1", &["neither JSON nor"]);
    check("[]", &["neither JSON nor"]);
    check("{} x", &["trailing characters"]);
    check("{}", &["without `items`"]);
    check("{\"items\": []}", &["an empty list"]);
    check(
        &items(&[
            serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment"}),
            serde_json::json!({"apiVersion": "v1", "kind": "Service"}),
        ]),
        &["nothing but Deployment of apps, Service"],
    );
    check(&part(KAI, |kind| kind == "Node"), &["neither a pod nor a job"]);
    check("{\"jobs\": []}", &["neither a pod nor a job"]);
    check("JobId=7 JobName=a\n   JobState=RUNNING\n   Nod", &["job 7 has no NumNodes", "cut off"]);
    check("{\"kind\": \"Status\", \"status\": \"Failure\", \"code\": 403}", &["nothing but Status"]);
    let nodes = SLURM.replace("gpu[01-02]", "gpu[01-");
    assert!(of(&[("j", &nodes)]).unwrap_err().to_string().contains("`gpu[01-` of job 4711"));
}

#[test]
fn a_page_that_is_cut_anywhere_never_panics_and_is_never_whole() {
    for page in [KAI, GROVE, SLURM] {
        let whole = page.trim_end();
        for end in (1..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            let found = of(&[("p.json", &whole[..end])]);
            assert!(matches!(found, Err(PlacementError::CutOff { .. })), "{end}: {found:?}");
        }
    }
    for end in 0..SLURM_TEXT.len() {
        // Whatever it gives: a text has no end that could be missing once the nodes were told.
        let _ = of(&[("p.txt", &SLURM_TEXT[..end])]);
    }
}
