//! Pages of an exporter that reads its devices at a pace of its own.

use super::{clock, config};
use nomoat_core::backend::Telemetry;
use nomoat_core::sample::Sample;
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
