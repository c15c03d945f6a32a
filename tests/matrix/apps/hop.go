// Go as a hop: hop '[[PORT, UPSTREAM, KIND], ...]'
//
//	proxy: httputil.ReverseProxy; limit: the same under http.Server's WriteTimeout of 3 s
//	scanner: copies line by line with bufio.Scanner and its limit of 64 KiB; wide: with a limit of 4 MiB
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"
)

func lines(target *url.URL, limit int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ask, _ := http.NewRequestWithContext(r.Context(), "GET", target.String()+r.URL.Path, nil)
		ask.Header.Set("x-cell", r.Header.Get("x-cell"))
		answer, err := http.DefaultTransport.RoundTrip(ask)
		if err != nil {
			w.WriteHeader(502)
			return
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		scanner := bufio.NewScanner(answer.Body)
		scanner.Buffer(nil, limit)
		for scanner.Scan() {
			fmt.Fprintf(w, "%s\n", scanner.Text())
			w.(http.Flusher).Flush()
		}
	}
}

func main() {
	var sites [][3]any
	if err := json.Unmarshal([]byte(os.Args[1]), &sites); err != nil {
		panic(err)
	}
	for _, site := range sites {
		target, _ := url.Parse(fmt.Sprintf("http://127.0.0.1:%.0f", site[1]))
		proxy := httputil.NewSingleHostReverseProxy(target)
		server := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%.0f", site[0]), Handler: proxy}
		switch site[2] {
		case "limit":
			server.WriteTimeout = 3 * time.Second
		case "scanner":
			server.Handler = lines(target, bufio.MaxScanTokenSize)
		case "wide":
			server.Handler = lines(target, 4<<20)
		}
		go server.ListenAndServe()
	}
	select {}
}
