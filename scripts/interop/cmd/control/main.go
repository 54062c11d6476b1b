// Control is a coordination server for the nodes of nodes.sh: Tailscale's own test server with a DERP
// map that has one region, the relay under test. Every node that asks is let in.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
)

func main() {
	listen := flag.String("listen", "", "address to serve on, as the nodes reach it: IP:PORT")
	mapFile := flag.String("derp-map", "", "file with the DERP map, JSON")
	flag.Parse()
	if err := serve(*listen, *mapFile); err != nil {
		log.Fatalf("control: %v", err)
	}
}

func serve(listen, mapFile string) error {
	text, err := os.ReadFile(mapFile)
	if err != nil {
		return err
	}
	derpMap := &tailcfg.DERPMap{}
	if err := json.Unmarshal(text, derpMap); err != nil {
		return fmt.Errorf("%s: %w", mapFile, err)
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &testcontrol.Server{
		DERPMap:          derpMap,
		ExplicitBaseURL:  "http://" + listen,
		AllNodesSameUser: true,
		AllOnline:        true,
	}
	fmt.Println("control: ready")
	return http.Serve(listener, server)
}
