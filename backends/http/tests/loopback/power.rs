//! Pages of an exporter that reads its devices at a pace of its own.

use super::{clock, config};
use nomoat_core::backend::Telemetry;
use nomoat_core::sample::Sample;
use nomoat_core::units::Nanos;
use nomoat_http::{HttpConfig, PowerPage, Secret};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Serves pages by the number of the request, the first is 0, and keeps what was asked.
async fn exporter(page: fn(usize) -> String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let n = socket.read(&mut request).await.unwrap();
            let number = log.lock().unwrap().len();
            log.lock().unwrap().push(String::from_utf8_lossy(&request[..n]).into_owned());
            let body = page(number);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

fn energy(millijoules: usize) -> String {
    format!("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{gpu=\"0\",UUID=\"GPU-a\"}} {millijoules}\n")
}

async fn values(page: &mut PowerPage) -> Vec<f64> {
    page.sample().await.unwrap().into_iter().map(|s: Sample| s.value).collect()
}

#[tokio::test]
async fn a_page_that_has_not_moved_is_no_reading() {
    // Its devices are read at every third request.
    let (url, asked) = exporter(|n| energy(1000 * (n / 3))).await;
    let keyed = HttpConfig { api_key: Some(Secret::new("sesame".into())), ..config(format!("{url}/metrics")) };
    let mut page = PowerPage::open(keyed, clock(), None, vec![]).await.unwrap();
    assert_eq!(values(&mut page).await, [1.0], "the first is one that has just moved, for how old the one before was nobody knows");
    assert_eq!(values(&mut page).await, [0.0_f64; 0]);
    assert_eq!(values(&mut page).await, [0.0_f64; 0]);
    assert_eq!(values(&mut page).await, [2.0]);
    page.closing();
    assert_eq!(values(&mut page).await, [3.0], "the last is waited for");
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|request| request.starts_with("GET /metrics ") && !request.contains("sesame")), "{asked:?}");
}

#[tokio::test]
async fn a_frozen_board_is_not_alive_by_what_moves_beside_it() {
    // The board's exporter was last read long ago; the packages beside it are counted at every request.
    let (url, _) = exporter(|n| format!("{}node_rapl_package_joules_total{{index=\"0\"}} {n}\n", energy(5000))).await;
    let mut page = PowerPage::open(config(url), clock(), None, vec![]).await.unwrap();
    let mut scopes = vec![];
    for reading in 0..4 {
        if reading == 3 {
            page.closing();
        }
        let read = page.sample().await.unwrap();
        assert!(!read.is_empty() && read.windows(2).all(|pair| pair[0].at <= pair[1].at), "{read:?}");
        scopes.extend(read.into_iter().map(|sample| sample.labels));
    }
    assert!(scopes.iter().all(|labels| labels.starts_with("scope=package")), "{scopes:?}");
}

#[tokio::test]
async fn devices_of_other_paces_have_moments_of_their_own() {
    // The board moves once, at the third request after the opening one; the package at every third.
    let (url, _) = exporter(|n| format!("{}node_rapl_package_joules_total{{index=\"0\"}} {}\n", energy(1000 * (n / 4)), n / 3)).await;
    let mut page = PowerPage::open(config(url), clock(), None, vec![]).await.unwrap();
    let read = page.sample().await.unwrap();
    let told: Vec<(bool, f64)> = read.iter().map(|s| (s.labels.starts_with("scope=board"), s.value)).collect();
    assert_eq!(told, [(false, 1.0), (true, 1.0)]);
    assert!(Nanos::ZERO < read[0].at && read[0].at < read[1].at, "{read:?}");
}

#[tokio::test]
async fn every_run_of_a_ladder_is_read_alike() {
    let (url, _) = exporter(|n| energy(1000 * (n / 3))).await;
    let mut page = PowerPage::open(config(url), clock(), None, vec![]).await.unwrap();
    let mut begins = vec![];
    for _ in 0..3 {
        let first = values(&mut page).await;
        assert_eq!(first.len(), 1, "one that has just moved");
        assert_eq!(values(&mut page).await, [0.0_f64; 0], "an ordinary reading waits for nothing");
        page.closing();
        assert_eq!(values(&mut page).await, [first[0] + 1.0], "the last is waited for");
        begins.push(first[0]);
    }
    assert!(begins.windows(2).all(|pair| pair[1] == pair[0] + 2.0), "none is left over from the run before: {begins:?}");
}

#[tokio::test]
async fn a_query_is_refused_and_not_shown() {
    for url in ["http://127.0.0.1:1/metrics?token=SESAME", "http://127.0.0.1:1#SESAME", "http://u:SESAME@127.0.0.1:1/metrics"] {
        let why = PowerPage::open(config(url.into()), clock(), None, vec![]).await.err().unwrap();
        assert!(why.contains("no query and no credentials") && !why.contains("SESAME"), "{why}");
    }
}

#[tokio::test]
async fn a_page_without_power_says_what_is_known() {
    let (url, _) = exporter(|_| "node_load1 0.5\n".into()).await;
    let why = PowerPage::open(config(url.clone()), clock(), None, vec![]).await.err().unwrap();
    assert!(why.contains("no series that tells power or energy") && why.contains("DCGM_FI_DEV_POWER_USAGE"), "{why}");
    let (url, _) = exporter(|_| energy(5)).await;
    let why = PowerPage::open(config(url), clock(), None, vec!["GPU-b".into()]).await.err().unwrap();
    assert!(why.contains("no series of GPU-b"), "{why}");
    let nobody = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let why = PowerPage::open(config(format!("http://{nobody}/metrics")), clock(), None, vec![]).await.err().unwrap();
    assert!(why.contains(&format!("reading http://{nobody}/metrics")), "{why}");
}
