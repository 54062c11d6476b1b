// Transfer carries one file over plain TCP: `transfer serve ADDR FILE` gives it to whoever connects,
// `transfer fetch ADDR FILE` gets it and prints the rate.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

const dialTimeout = 20 * time.Second

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: transfer serve|fetch ADDR FILE")
	}
	command, addr, file := os.Args[1], os.Args[2], os.Args[3]
	var err error
	switch command {
	case "serve":
		err = serve(addr, file)
	case "fetch":
		err = fetch(addr, file)
	default:
		err = fmt.Errorf("no command %q", command)
	}
	if err != nil {
		log.Fatalf("transfer %s: %v", command, err)
	}
}

func serve(addr, file string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		if err := give(conn, file); err != nil {
			log.Printf("transfer serve: %v", err)
		}
	}
}

func give(conn net.Conn, file string) error {
	defer conn.Close()
	source, err := os.Open(file)
	if err != nil {
		return err
	}
	defer source.Close()
	_, err = io.Copy(conn, source)
	return err
}

func fetch(addr, file string) error {
	start := time.Now()
	conn, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	target, err := os.Create(file)
	if err != nil {
		return err
	}
	bytes, err := io.Copy(target, conn)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	fmt.Printf("%d bytes in %.2f s, %.0f Mbit/s\n", bytes, seconds, float64(bytes)*8/1e6/seconds)
	return target.Close()
}
