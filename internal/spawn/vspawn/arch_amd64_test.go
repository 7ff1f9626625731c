package vspawn

const goarchIsAMD64 = 1
