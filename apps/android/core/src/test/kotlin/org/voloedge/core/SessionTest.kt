package org.voloedge.core

import java.io.File
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executors
import java.util.concurrent.Future
import java.util.concurrent.TimeUnit
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class SessionTest {
    private val artifact = Artifact.read(Goldens.artifact)
    private val photo = Goldens.decode(artifact.file(artifact.manifest.cases[0].photo))
    private val platform = SlowPlatform(artifact)
    private val session = Session(artifact, platform)
    private val people = Executors.newFixedThreadPool(2)

    @After
    fun done() {
        people.shutdownNow()
    }

    private fun <T> meanwhile(task: () -> T): Future<T> = people.submit(task)

    private fun <T> Future<T>.ended(): T = get(20, TimeUnit.SECONDS)

    @Test
    fun aSessionLoadsOnceUntilItsThreadsChange() {
        assertTrue(session.runSelfTest().passed)
        session.classify(photo)
        assertEquals(listOf("load null"), platform.loads())
        val benchmark = session.runBenchmark(1, 3)
        assertEquals(listOf("load null", "close", "load null"), platform.loads())
        assertTrue(benchmark.loadMs >= SlowPlatform.MILLISECONDS)
        with(session.results()) {
            assertNotNull(selfTest)
            assertEquals(3, this.benchmark!!.latencies.size)
        }
        session.choose(2)
        assertEquals(listOf("load null", "close", "load null", "close"), platform.loads())
        with(session.results()) { assertEquals(listOf(null, null), listOf(selfTest, this.benchmark)) }
        assertEquals("load 2", platform.log.last())
    }

    @Test
    fun twoAtOnceLoadOnce() {
        listOf(meanwhile { session.classify(photo) }, meanwhile { session.classify(photo) }).forEach { it.ended() }
        assertEquals(listOf("load null"), platform.loads())
    }

    @Test
    fun aLoadThatFailedIsTriedAgain() {
        platform.fails = true
        assertThrows(ArtifactException::class.java) { session.classify(photo) }
        platform.fails = false
        session.classify(photo)
        assertEquals(listOf("load null", "load null", "run"), platform.log)
    }

    @Test
    fun aChoiceDuringALoadCounts() {
        val first = meanwhile { session.classify(photo) }
        platform.loading.await()
        session.choose(2)
        first.ended()
        assertEquals(2, session.results().engine.threads)
    }

    @Test
    fun aChoiceDuringASelfTestDropsIt() {
        val first = meanwhile { session.runSelfTest() }
        platform.running.await()
        session.choose(2)
        first.ended()
        with(session.results()) {
            assertEquals(2, engine.threads)
            assertNull(selfTest)
        }
    }

    @Test
    fun anEngineIsNotClosedWhileItRuns() {
        val first = meanwhile { session.classify(photo) }
        platform.running.await()
        session.close()
        first.ended()
        assertEquals(listOf("load null", "run", "close"), platform.log)
    }
}

/** A platform that takes its time to load and to run, answers as the host, and tells what was done with it. */
private class SlowPlatform(artifact: Artifact) : Platform {
    private val answers = artifact.manifest.cases.map { artifact.floats(it.logits) }
    val log = CopyOnWriteArrayList<String>()
    val loading = CountDownLatch(1)
    val running = CountDownLatch(1)
    @Volatile var fails = false

    /** What was done but the runs. */
    fun loads(): List<String> = log.filter { it != "run" }

    override val app = AppInfo("VoloEdge", "0.1.0")
    override val device = DeviceInfo("Maker", "Model 1", "Android", "16", null)

    override fun decode(file: File) = Goldens.decode(file)

    override fun thermal() = Thermal.FAIR

    override fun peakMemoryBytes() = 12345L

    override fun load(artifact: Artifact, threads: Int?): Engine {
        log += "load $threads"
        loading.countDown()
        Thread.sleep(MILLISECONDS)
        if (fails) throw ArtifactException("unreadable")
        val engine = Goldens.engine(answers)
        return object : Engine {
            override val info = engine.info.copy(threads = threads)

            override fun run(input: FloatArray): Answer {
                running.countDown()
                Thread.sleep(MILLISECONDS)
                log += "run"
                return engine.run(input)
            }

            override fun close() {
                log += "close"
            }
        }
    }

    companion object {
        const val MILLISECONDS = 100L
    }
}
