/* libcurl, by its easy interface: one handle, so that its connection is used again. */
#include "client.h"
#include <curl/curl.h>

static size_t received;

static size_t takes(char *data, size_t size, size_t count, void *unused) {
  (void)data;
  (void)unused;
  received += size * count;
  return size * count;
}

int main(int count_of_arguments, char **arguments) {
  CURL *curl;
  unsigned long count, i;
  char url[64];
  size_t size;
  long status;

  REQUIRE(count_of_arguments == 3 && strcmp(arguments[1], "request") == 0);
  size = strtoul(arguments[2], NULL, 10);
  REQUIRE(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && (curl = curl_easy_init()) != NULL);
  snprintf(url, sizeof url, "%s://localhost:%s/bench/", getenv("BENCH_CA") ? "https" : "http", told("BENCH_PORT"));
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, takes);
  if (getenv("BENCH_CA")) {
    curl_easy_setopt(curl, CURLOPT_CAINFO, told("BENCH_CA"));
  }
  for (count = next_count("ready"); count > 0; count = next_count("done")) {
    for (i = 0; i < count; i++) {
      received = 0;
      REQUIRE(curl_easy_perform(curl) == CURLE_OK);
      REQUIRE(curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status == 200);
      REQUIRE(received == size);
    }
  }
  curl_easy_cleanup(curl);
  curl_global_cleanup();
  return 0;
}
